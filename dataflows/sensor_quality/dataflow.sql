-- Readings of ten types of sensors with flags for weak batteries and signals, and per minute and device what the
-- readings were like.

CREATE SOURCE sensor_events (
    event_duration  DOUBLE    CHECK (event_duration >= 0),
    device_type     TEXT      NOT NULL,
    device_id       TEXT      NOT NULL,
    "timestamp"     TIMESTAMP NOT NULL,
    location        TEXT,
    value           DOUBLE,
    unit            TEXT,
    battery_level   DOUBLE    CHECK (battery_level BETWEEN 0 AND 100),
    signal_strength DOUBLE    CHECK (signal_strength <= 0),
    metadata        JSON,
    CHECK (device_type IN ('temperature', 'pressure', 'humidity', 'motion', 'light',
                           'vibration', 'co2', 'sound', 'air_quality', 'voltage')),
    WATERMARK FOR "timestamp" AS "timestamp" - INTERVAL '2 minutes'
) WITH (connector = 'kafka', topic = 'sensor_events', format = 'json');

-- Every reading as it came, with the flags. What is not known is not called valid.
CREATE VIEW checked AS
SELECT device_id, device_type, location, "timestamp", value, unit, event_duration, battery_level, signal_strength,
       coalesce(battery_level >= 20, false)    AS is_valid_battery,
       coalesce(signal_strength >= -90, false) AS is_valid_signal,
       metadata
FROM sensor_events;

CREATE SINK enriched FROM checked
WITH (connector = 'kafka', topic = 'sensor_events_enriched', key = 'device_id', key.format = 'raw');

CREATE MATERIALIZED VIEW device_minutes AS
SELECT window_start,
       window_end,
       device_id,
       last_value(device_type ORDER BY "timestamp")                  AS device_type,
       last_value(location ORDER BY "timestamp") IGNORE NULLS        AS location,
       last_value(unit ORDER BY "timestamp") IGNORE NULLS            AS unit,
       count(*)                                                      AS event_count,
       avg(value)                                                    AS avg_value,
       min(value)                                                    AS min_value,
       max(value)                                                    AS max_value,
       stddev(value)                                                 AS stddev_value,
       avg(event_duration)                                           AS avg_duration,
       avg(battery_level)                                            AS avg_battery,
       avg(signal_strength)                                          AS avg_signal,
       count(*) FILTER (WHERE battery_level < 20)                    AS low_battery_count,
       count(*) FILTER (WHERE signal_strength < -90)                 AS weak_signal_count
FROM checked
GROUP BY tumble("timestamp", INTERVAL '1 minute'), device_id;

CREATE SINK sensor_windows AS
SELECT *,
       CAST(extract(year  FROM window_start) AS INT) AS year,
       CAST(extract(month FROM window_start) AS INT) AS month,
       CAST(extract(day   FROM window_start) AS INT) AS day,
       CAST(extract(hour  FROM window_start) AS INT) AS hour
FROM device_minutes
WITH (connector = 'mongodb', collection = 'sensor_windows', mode = 'upsert');

-- What came more than two minutes too late for its minute.
CREATE SINK late_readings FROM late(device_minutes)
WITH (connector = 'kafka', topic = 'sensor_events_late', key = 'device_id', key.format = 'raw');
