CREATE SOURCE events (
    id      BIGINT    NOT NULL,
    device  TEXT      NOT NULL,
    value   DOUBLE,
    at      TIMESTAMP NOT NULL,
    WATERMARK FOR at AS at - INTERVAL '10 seconds'
) WITH (connector = 'kafka', topic = 'events', format = 'json');

CREATE VIEW sums AS SELECT device, sum(value) AS total FROM events GROUP BY device;
CREATE VIEW counts AS SELECT device, count(*) AS n FROM events GROUP BY device;

CREATE SINK out AS
SELECT * FROM sums JOIN counts USING (device)
EXCEPT
SELECT device, total, 1 FROM sums
WITH (connector = 'file', path = 'out.jsonl');
