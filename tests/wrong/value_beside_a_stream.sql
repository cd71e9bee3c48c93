CREATE SOURCE events (
    id      BIGINT    NOT NULL,
    device  TEXT      NOT NULL,
    value   DOUBLE,
    at      TIMESTAMP NOT NULL,
    WATERMARK FOR at AS at - INTERVAL '10 seconds'
) WITH (connector = 'kafka', topic = 'events', format = 'json');

CREATE SINK out AS SELECT device, value - (SELECT avg(value) FROM events) AS above FROM events
WITH (connector = 'file', path = 'out.jsonl');
