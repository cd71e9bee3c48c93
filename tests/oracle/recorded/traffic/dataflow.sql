-- The state of 213 aircraft, once per second.
CREATE SOURCE aircraft (
    icao24        TEXT      NOT NULL,
    callsign      TEXT,
    altitude      DOUBLE,
    groundspeed   DOUBLE,
    latitude      DOUBLE,
    longitude     DOUBLE,
    onground      BOOLEAN,
    squawk        TEXT,
    "timestamp"   TIMESTAMP NOT NULL,
    vertical_rate DOUBLE,
    WATERMARK FOR "timestamp" AS "timestamp" - INTERVAL '5 seconds'
) WITH (connector = 'kafka', topic = 'aircraft');

CREATE MATERIALIZED VIEW latest AS
SELECT icao24,
       max("timestamp") AS seen_at,
       last_value(callsign ORDER BY "timestamp") FILTER (WHERE callsign IS NOT NULL) AS callsign,
       last_value(altitude ORDER BY "timestamp") AS altitude,
       last_value(groundspeed ORDER BY "timestamp") FILTER (WHERE groundspeed IS NOT NULL) AS groundspeed,
       last_value(onground ORDER BY "timestamp") AS onground,
       count(*) AS reports
FROM aircraft
GROUP BY icao24;

CREATE SINK latest_out FROM latest WITH (connector = 'mongodb', collection = 'aircraft', mode = 'upsert');
CREATE SINK airborne AS
SELECT onground, count(*) AS aircraft, avg(altitude) AS altitude, sum(reports) AS reports, max(groundspeed) AS fastest
FROM latest
GROUP BY onground
WITH (connector = 'mongodb', collection = 'airborne', mode = 'upsert');
CREATE SINK minutes AS
SELECT date_trunc('minute', "timestamp") AS minute, count(*) AS reports, count(altitude) AS with_altitude,
       avg(groundspeed) AS speed, max(altitude) AS highest, sum(vertical_rate) FILTER (WHERE NOT onground) AS climb
FROM aircraft
GROUP BY date_trunc('minute', "timestamp")
WITH (connector = 'file', path = 'minutes');
CREATE SINK airlines AS
SELECT substr(callsign, 1, 3) AS airline, count(*) AS aircraft, max(seen_at) AS seen_at FROM latest
WHERE callsign IS NOT NULL
GROUP BY substr(callsign, 1, 3)
HAVING count(*) > 1
WITH (connector = 'file', path = 'airlines');
CREATE SINK squawks AS SELECT DISTINCT squawk, onground FROM aircraft WHERE squawk LIKE '7%' OR squawk IS NULL
WITH (connector = 'file', path = 'squawks');
CREATE SINK emergencies AS
SELECT icao24, callsign, "timestamp", squawk FROM aircraft WHERE squawk IN ('7500', '7600', '7700')
UNION ALL
SELECT icao24, callsign, "timestamp", 'fast' FROM aircraft WHERE groundspeed > 480.0
WITH (connector = 'file', path = 'emergencies');
CREATE SINK total AS
SELECT count(*) AS reports, min("timestamp") AS first_at, max("timestamp") AS last_at, min(latitude) AS south FROM aircraft
WITH (connector = 'file', path = 'total');
