-- Drives of electric cars at 1 Hz as CSV; some dates cannot be.
CREATE SOURCE drives (
    "Date"       TEXT NOT NULL,
    "Time"       TEXT NOT NULL,
    "Soc"        DOUBLE,
    "Speed"      DOUBLE,
    "Mode"       TEXT,
    "LAT"        DOUBLE,
    "LON"        DOUBLE,
    "Weather"    TEXT,
    "Traffic"    BIGINT,
    "SpeedLimit" DOUBLE,
    file         TEXT METADATA FROM 'topic'
) WITH (connector = 'file', path = 'drives', format = 'csv');

CREATE VIEW timed AS
SELECT regexp_replace(file, '^.*/|[.]csv$', '', 'g') AS drive,
       TRY_CAST(concat(substr("Date", 7, 4), '-', substr("Date", 1, 2), '-', substr("Date", 4, 2), 'T', "Time", 'Z') AS TIMESTAMP) AS ts,
       "Date" AS day, "Soc" AS soc, "Speed" AS speed, "Mode" AS mode, "Weather" AS weather, "Traffic" AS traffic,
       "SpeedLimit" AS speed_limit
FROM drives;

CREATE MATERIALIZED VIEW latest AS
SELECT drive, min(ts) AS started_at, max(ts) AS ended_at, first_value(soc ORDER BY ts) AS soc_before,
       last_value(soc ORDER BY ts) AS soc_after, max(speed) AS fastest, count(*) AS seconds, count(ts) AS timed
FROM timed
GROUP BY drive;

CREATE SINK latest_out FROM latest WITH (connector = 'mongodb', collection = 'drives', mode = 'upsert');
CREATE SINK used AS
SELECT left(drive, 2) AS trajectory, count(*) AS drives, avg(soc_before - soc_after) AS used, max(seconds) AS longest
FROM latest
GROUP BY left(drive, 2)
WITH (connector = 'file', path = 'used');
CREATE SINK modes AS
SELECT mode, weather, traffic, count(*) AS seconds, avg(speed) AS mean, min(speed) AS slowest, max(speed) AS fastest
FROM timed
GROUP BY mode, weather, traffic
HAVING count(*) > 1
WITH (connector = 'file', path = 'modes');
CREATE SINK impossible AS SELECT drive, day, count(*) AS rows FROM timed WHERE ts IS NULL GROUP BY drive, day
WITH (connector = 'file', path = 'impossible');
CREATE SINK speeding AS SELECT drive, ts, speed, speed_limit FROM timed WHERE speed > speed_limit AND ts IS NOT NULL
WITH (connector = 'file', path = 'speeding');
CREATE SINK weather AS
SELECT DISTINCT lower(trim(weather)) AS weather, speed_limit FROM timed
WITH (connector = 'file', path = 'weather');
CREATE SINK hours AS
SELECT CAST(extract(hour FROM ts) AS BIGINT) AS hour, count(*) AS seconds, avg(soc) AS soc FROM timed GROUP BY 1
WITH (connector = 'file', path = 'hours');
CREATE SINK total AS SELECT count(*) AS rows, count(ts) AS timed, sum(traffic) AS traffic, avg(speed) AS speed FROM timed
WITH (connector = 'file', path = 'total');
