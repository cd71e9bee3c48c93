-- Events of sensors, each with what is known of its device when it comes. Devices are moved, named anew and taken
-- away while the events go on: what has been written keeps the device as it was.

CREATE TABLE devices (
    device_id TEXT,
    name      TEXT   NOT NULL,
    site      TEXT,
    offset_by DOUBLE NOT NULL DEFAULT 0,
    max_value DOUBLE CHECK (max_value > 0),
    PRIMARY KEY (device_id)
) WITH (connector = 'kafka', topic = 'devices');

CREATE TABLE sites (
    site    TEXT PRIMARY KEY,
    city    TEXT NOT NULL,
    country TEXT NOT NULL
) WITH (connector = 'kafka', topic = 'sites', key.format = 'raw');

CREATE SOURCE events (
    event_id    TEXT      NOT NULL,
    device_id   TEXT      NOT NULL,
    value       DOUBLE    NOT NULL,
    "timestamp" TIMESTAMP NOT NULL,
    WATERMARK FOR "timestamp" AS "timestamp" - INTERVAL '10 seconds'
) WITH (connector = 'kafka', topic = 'events');

-- A row of the stream is looked up in one table, then in the other. A device without a site stays.
CREATE VIEW enriched AS
SELECT e.event_id, e.device_id, d.name, d.site, s.city, e."timestamp", e.value + d.offset_by AS value, d.max_value
FROM events e
JOIN devices FOR SYSTEM_TIME AS OF PROCTIME() AS d ON e.device_id = d.device_id
LEFT JOIN sites FOR SYSTEM_TIME AS OF PROCTIME() AS s ON d.site = s.site;

CREATE SINK enriched_events FROM enriched
WITH (connector = 'kafka', topic = 'enriched_events', key = 'device_id');

-- Only the condition of the join says that a value is too high; other events stand beside NULL.
CREATE SINK alarms AS
SELECT e.event_id, e.value, d.name, d.max_value
FROM events e LEFT JOIN devices d ON e.device_id = d.device_id AND e.value > d.max_value
WITH (connector = 'file', path = 'output/alarms.jsonl');

CREATE SINK unknown_devices AS
SELECT event_id, device_id, "timestamp"
FROM events e
WHERE NOT EXISTS (SELECT 1 FROM devices d WHERE d.device_id = e.device_id)
WITH (connector = 'kafka', topic = 'unknown_devices');

-- A table is an updating relation: what is computed from it changes with it.
CREATE MATERIALIZED VIEW directory AS
SELECT d.device_id, d.name, s.city, s.country
FROM devices d LEFT JOIN sites s ON d.site = s.site;

CREATE SINK devices_by_country AS
SELECT coalesce(country, 'unknown') AS country, count(*) AS devices
FROM directory
GROUP BY coalesce(country, 'unknown')
WITH (connector = 'mongodb', collection = 'devices_by_country', mode = 'upsert');

-- So is what is latest of each device: it is written again when the device changes.
CREATE VIEW latest AS
SELECT device_id, last_value(value ORDER BY "timestamp") AS value, count(*) AS events
FROM events
GROUP BY device_id;

CREATE SINK latest_with_device AS
SELECT l.device_id, d.name, d.city, l.value, l.events
FROM latest l LEFT JOIN directory d ON l.device_id = d.device_id
WITH (connector = 'mongodb', collection = 'latest_with_device', mode = 'upsert');
