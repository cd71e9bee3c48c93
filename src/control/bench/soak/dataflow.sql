-- What `tidemill bench soak` runs where it is given no dataflow: each kind of state that a stream without end fills.
CREATE SOURCE readings (
    event_id       TEXT      NOT NULL,
    device_id      TEXT      NOT NULL,
    device_type    TEXT      NOT NULL,
    "timestamp"    TIMESTAMP NOT NULL,
    event_duration DOUBLE,
    value          DOUBLE    NOT NULL,
    status         TEXT,
    battery_level  DOUBLE,
    WATERMARK FOR "timestamp" AS "timestamp" - INTERVAL '30 seconds'
) WITH (connector = 'kafka', topic = 'readings', format = 'json', dead_letters = 'drop');

-- Each event once. The ids of two horizons and of the delay are remembered.
CREATE VIEW events WITH (deduplicate_horizon = '2 minutes') AS
SELECT DISTINCT ON (event_id)
       event_id, device_id, device_type, "timestamp", event_duration, value, status, battery_level
FROM readings;

-- Few groups, each with much in it.
CREATE SINK per_type AS
SELECT device_type, window_start, window_end, count(*) AS events, avg(value) AS average,
       approx_percentile_cont(event_duration, 0.95) AS p95
FROM events
GROUP BY device_type, tumble("timestamp", INTERVAL '1 minute')
WITH (connector = 'blackhole');

-- As many groups as there are devices, in each window.
CREATE SINK per_device AS
SELECT device_id, window_start, window_end, count(*) AS events, min(value) AS least, max(value) AS most
FROM events
GROUP BY device_id, tumble("timestamp", INTERVAL '1 minute')
WITH (connector = 'blackhole');

-- A row for each device, read live.
CREATE MATERIALIZED VIEW latest AS
SELECT device_id, max("timestamp") AS seen, last_value(value ORDER BY "timestamp") AS value,
       last_value(status ORDER BY "timestamp") AS status
FROM events
GROUP BY device_id;
