CREATE SOURCE events (
    id      BIGINT    NOT NULL,
    device  TEXT      NOT NULL,
    value   DOUBLE,
    at      TIMESTAMP NOT NULL,
    seen    TIMESTAMP,
    WATERMARK FOR at AS at - INTERVAL '10 seconds'
) WITH (connector = 'kafka', topic = 'events', format = 'json');

CREATE SINK out AS
SELECT device, lag(id, 1, 'none') OVER (PARTITION BY device ORDER BY at) AS before FROM events
WITH (connector = 'stdout');
