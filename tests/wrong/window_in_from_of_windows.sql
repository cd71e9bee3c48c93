CREATE SOURCE events (
    id      BIGINT    NOT NULL,
    device  TEXT      NOT NULL,
    value   DOUBLE,
    at      TIMESTAMP NOT NULL,
    WATERMARK FOR at AS at - INTERVAL '10 seconds'
) WITH (connector = 'kafka', topic = 'events', format = 'json');

CREATE VIEW minutes AS
SELECT device, window_start, window_end, count(*) AS n FROM events GROUP BY device, tumble(at, INTERVAL '1 minute');

CREATE SINK out AS SELECT * FROM tumble(minutes, window_end, INTERVAL '1 hour')
WITH (connector = 'file', path = 'out.jsonl');
