-- How long the events of each type of device take: per day the 95th percentile of their duration, without outliers,
-- where there were at least 500 events. Exact, from the events themselves. A day comes out when it is over; over
-- finished input (tidemill run --bounded) all days do.

CREATE SOURCE device_events (
    event_id       TEXT      NOT NULL,
    device_type    TEXT      NOT NULL,
    "timestamp"    TIMESTAMP NOT NULL,
    event_duration DOUBLE    NOT NULL CHECK (event_duration >= 0),
    WATERMARK FOR "timestamp" AS "timestamp" - INTERVAL '1 hour'
) WITH (connector = 'kafka', topic = 'device_events', format = 'json');

-- An event that is sent again on the same day counts once.
CREATE VIEW events WITH (deduplicate_horizon = '1 day') AS
SELECT DISTINCT ON (event_id) * FROM device_events;

-- Outliers are farther than three standard deviations from the mean of their type and day.
CREATE MATERIALIZED VIEW type_days AS
SELECT window_start,
       device_type,
       count(DISTINCT event_id)                            AS event_count,
       sigma_clipped_percentile(event_duration, 0.95, 3)   AS p95_duration
FROM events
GROUP BY tumble("timestamp", INTERVAL '1 day'), device_type
HAVING count(DISTINCT event_id) >= 500;

CREATE SINK duration_p95 AS
SELECT CAST(window_start AS DATE) AS day, device_type, event_count, p95_duration FROM type_days
WITH (connector = 'file', path = 'output/duration_p95.csv', format = 'csv');
