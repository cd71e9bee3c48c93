CREATE SOURCE events (
    id      BIGINT    NOT NULL,
    device  TEXT      NOT NULL,
    value   DOUBLE,
    at      TIMESTAMP NOT NULL,
    WATERMARK FOR at AS at - INTERVAL '10 seconds'
) WITH (connector = 'kafka', topic = 'events', format = 'json');

CREATE SINK out AS
SELECT device, window_start, count(*) AS n
FROM TABLE(SESSION(TABLE events, DESCRIPTOR(at), INTERVAL '5' MINUTE))
GROUP BY device, window_start, window_end
WITH (connector = 'stdout');
