CREATE SOURCE events (
    id      BIGINT    NOT NULL,
    device  TEXT      NOT NULL,
    value   DOUBLE,
    at      TIMESTAMP NOT NULL,
    WATERMARK FOR at AS at - INTERVAL '10 seconds'
) WITH (connector = 'kafka', topic = 'events', format = 'json');

CREATE SINK out AS
SELECT device, value FROM events WHERE id > 0
INTERSECT
SELECT device FROM events
WITH (connector = 'file', path = 'out.jsonl');
