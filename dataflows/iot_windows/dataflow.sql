-- Readings of sensors, counted and summed up per minute and type of device: each event once, in the minute in
-- which it happened, however late or often it arrives within ten minutes.

CREATE SOURCE iot_events (
    event_id       TEXT      NOT NULL,
    device_id      TEXT      NOT NULL,
    device_type    TEXT      NOT NULL CHECK (device_type IN ('temperature', 'pressure', 'humidity', 'motion', 'light')),
    "timestamp"    TIMESTAMP NOT NULL,
    event_duration DOUBLE    NOT NULL CHECK (event_duration >= 0),
    value          DOUBLE    NOT NULL,
    status         TEXT      CHECK (status IN ('normal', 'warning', 'critical')),
    location       TEXT      PATH 'metadata.location',
    firmware       TEXT      PATH 'metadata.firmware',
    ingestion_time TIMESTAMP METADATA FROM 'ingestion_time',
    WATERMARK FOR "timestamp" AS "timestamp" - INTERVAL '10 minutes'
) WITH (connector = 'kafka', topic = 'iot_events', format = 'json');

-- The first event of each id: what arrives again within ten minutes of event time is counted, and left out.
CREATE VIEW events WITH (deduplicate_horizon = '10 minutes') AS
SELECT DISTINCT ON (event_id) * FROM iot_events;

CREATE MATERIALIZED VIEW type_minutes AS
SELECT window_start,
       window_end,
       device_type,
       count(*)                                                      AS event_count,
       avg(event_duration)                                           AS avg_duration,
       min(event_duration)                                           AS min_duration,
       max(event_duration)                                           AS max_duration,
       percentile_cont(0.95) WITHIN GROUP (ORDER BY event_duration)  AS p95_duration,
       avg(value)                                                    AS avg_value,
       max(ingestion_time)                                           AS processing_time
FROM events
GROUP BY tumble("timestamp", INTERVAL '1 minute'), device_type;

CREATE SINK iot_windows AS
SELECT *,
       CAST(extract(year  FROM window_start) AS INT) AS year,
       CAST(extract(month FROM window_start) AS INT) AS month,
       CAST(extract(day   FROM window_start) AS INT) AS day,
       CAST(extract(hour  FROM window_start) AS INT) AS hour
FROM type_minutes
WITH (connector = 'mongodb', collection = 'iot_windows', mode = 'upsert');

-- What came when its minute was closed, to be looked at or added by hand.
CREATE SINK late_events FROM late(type_minutes)
WITH (connector = 'kafka', topic = 'iot_events_late', key = 'device_id', key.format = 'raw');
