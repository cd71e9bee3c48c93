-- Gateways send again what was not acknowledged: each reading counts once.

CREATE SOURCE readings (
    event_id TEXT      NOT NULL,
    device   TEXT      NOT NULL,
    site     TEXT,
    celsius  DOUBLE,
    ts       TIMESTAMP,
    gateway  TEXT,
    position BIGINT    METADATA FROM 'offset',
    WATERMARK FOR ts AS ts - INTERVAL '10 seconds'
) WITH (connector = 'kafka', topic = 'readings');

-- A reading comes again within ten minutes, or not at all. The same id with another value is a conflict.
CREATE VIEW readings_once WITH (deduplicate_horizon = '10 minutes') AS
SELECT DISTINCT ON (event_id) event_id, device, site, celsius, ts, position AS _position FROM readings;

CREATE SINK unique_readings FROM readings_once
WITH (connector = 'mongodb', collection = 'readings', mode = 'append');

-- Behind it everything works as over a source.
CREATE MATERIALIZED VIEW devices AS
SELECT device, count(*) AS readings, sum(celsius) AS celsius, max(ts) AS last_at FROM readings_once GROUP BY device;

CREATE SINK devices_out FROM devices
WITH (connector = 'mongodb', collection = 'devices', mode = 'upsert');

-- One row per site and half minute at most: the next row of a site replaces the one before.
CREATE VIEW samples WITH (deduplicate_horizon = '30 seconds') AS
SELECT DISTINCT ON (site) site, device, celsius, ts FROM readings;

CREATE SINK samples_out FROM samples
WITH (connector = 'kafka', topic = 'samples', mode = 'append');

CREATE SINK newest_samples FROM samples
WITH (connector = 'mongodb', collection = 'samples', mode = 'upsert');

-- Keys can be computed and have several parts; without event time every key is remembered.
CREATE MATERIALIZED VIEW places WITH (deduplicate_horizon = 'unbounded') AS
SELECT DISTINCT ON (lower(site), device) lower(site) AS site, device FROM readings;

CREATE SINK places_out FROM places
WITH (connector = 'file', path = 'output/places.jsonl');
