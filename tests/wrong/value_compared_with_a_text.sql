CREATE SOURCE events (
    id      BIGINT    NOT NULL,
    device  TEXT      NOT NULL,
    value   DOUBLE,
    at      TIMESTAMP NOT NULL,
    WATERMARK FOR at AS at - INTERVAL '10 seconds'
) WITH (connector = 'kafka', topic = 'events', format = 'json');

CREATE VIEW counts AS SELECT device, count(*) AS n FROM events GROUP BY device;

CREATE SINK out AS SELECT device, n FROM counts WHERE device = (SELECT avg(c.n) FROM counts AS c)
WITH (connector = 'file', path = 'out.jsonl');
