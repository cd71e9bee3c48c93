-- One source for many readers: views over views, branches that meet again, and groups of groups. Every sink sees
-- every row once, whatever the others do with it.

CREATE SOURCE readings (
    site    TEXT      NOT NULL,
    device  TEXT      NOT NULL,
    celsius DOUBLE,
    energy  BIGINT,
    ts      TIMESTAMP NOT NULL,
    WATERMARK FOR ts AS ts - INTERVAL '30 seconds'
) WITH (connector = 'kafka', topic = 'readings');

-- Branches: what is hot and what is cold, and then again both. A reading of 60 is in both.
CREATE VIEW hot AS SELECT site, device, celsius, ts FROM readings WHERE celsius >= 50.0;
CREATE VIEW cold AS SELECT site, device, celsius, ts FROM readings WHERE celsius <= -10.0 OR celsius = 60.0;

CREATE VIEW alarms AS
SELECT site, device, 'hot' AS kind, celsius, ts FROM hot
UNION ALL
SELECT site, device, 'cold' AS kind, celsius, ts FROM cold;

CREATE VIEW fahrenheit AS
SELECT upper(device) AS device, kind, celsius * 1.8 + 32.0 AS fahrenheit, ts FROM alarms WHERE site <> 'lab';

CREATE SINK alarms_out FROM alarms
WITH (connector = 'kafka', topic = 'alarms', key = 'site, device');

CREATE SINK fahrenheit_out FROM fahrenheit
WITH (connector = 'file', path = 'output/fahrenheit.jsonl');

CREATE SINK everything AS SELECT * FROM readings
WITH (connector = 'mongodb', collection = 'readings', mode = 'append');

-- Groups over a UNION ALL.
CREATE MATERIALIZED VIEW alarm_counts AS
SELECT kind, count(*) AS alarms, min(ts) AS first_at FROM alarms GROUP BY kind;

CREATE SINK alarm_counts_out FROM alarm_counts
WITH (connector = 'mongodb', collection = 'alarm_counts', mode = 'upsert');

CREATE MATERIALIZED VIEW devices AS
SELECT site,
       device,
       count(*)                                       AS readings,
       count(celsius)                                 AS temperatures,
       count(*) FILTER (WHERE celsius > 20.0)         AS warm,
       sum(energy)                                    AS energy,
       sum(celsius)                                   AS celsius_sum,
       avg(celsius)                                   AS celsius_avg,
       avg(energy)                                    AS energy_avg,
       min(celsius)                                   AS coldest,
       max(celsius)                                   AS hottest,
       max(ts)                                        AS last_at,
       first_value(celsius ORDER BY ts)               AS first_celsius,
       last_value(celsius ORDER BY ts)                AS last_celsius,
       last_value(energy ORDER BY ts) FILTER (WHERE energy IS NOT NULL) AS last_energy
FROM readings
GROUP BY site, device;

CREATE SINK devices_out FROM devices
WITH (connector = 'mongodb', collection = 'devices', mode = 'upsert');

-- Groups over an updating view: when a device changes, its old row is taken back from its site.
CREATE MATERIALIZED VIEW sites AS
SELECT site,
       count(*)                                       AS devices,
       sum(readings)                                  AS readings,
       sum(energy)                                    AS energy,
       avg(celsius_avg)                               AS celsius_avg,
       min(coldest)                                   AS coldest,
       max(hottest)                                   AS hottest,
       last_value(device ORDER BY last_at)            AS last_device
FROM devices
GROUP BY site
HAVING count(*) > 1;

CREATE SINK sites_out FROM sites
WITH (connector = 'kafka', topic = 'sites', mode = 'upsert', key.format = 'raw');

-- Without its key an updating relation is a bag of rows.
CREATE SINK levels AS
SELECT CASE WHEN readings > 2 THEN 'busy' ELSE 'quiet' END AS level, temperatures FROM devices
WITH (connector = 'file', path = 'output/levels.jsonl');
