CREATE SOURCE events (
    id      BIGINT    NOT NULL,
    device  TEXT      NOT NULL,
    value   DOUBLE,
    at      TIMESTAMP NOT NULL,
    WATERMARK FOR at AS at - INTERVAL '10 seconds'
) WITH (connector = 'kafka', topic = 'events', format = 'json');

CREATE SINK out AS
SELECT window_start, window_end, window_time, count(*) AS n
FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(at), INTERVAL '1' MINUTE))
GROUP BY window_start, window_end, window_time
WITH (connector = 'file', path = 'out.jsonl');
