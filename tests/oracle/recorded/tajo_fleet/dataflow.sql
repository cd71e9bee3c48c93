-- Events of two vehicles, nested; arrival is up to ten minutes behind the event.
CREATE SOURCE fleet (
    type         TEXT      NOT NULL,
    vehicle      TEXT      NOT NULL PATH 'ev.vehicleId',
    ts           TIMESTAMP NOT NULL PATH 'ev.ts',
    received     TIMESTAMP PATH 'ev.receivedTs',
    lat          DOUBLE    PATH 'ev.pos.latlon.lat' CHECK (lat BETWEEN -90 AND 90),
    lng          DOUBLE    PATH 'ev.pos.latlon.lng',
    speed        DOUBLE    PATH 'ev.pos.speed',
    altitude     DOUBLE    PATH 'ev.pos.altitude',
    azimuth      BIGINT    PATH 'ev.pos.azimuth',
    ev           JSON,
    WATERMARK FOR ts AS ts - INTERVAL '10 minutes'
) WITH (connector = 'kafka', topic = 'fleet');

CREATE MATERIALIZED VIEW latest AS
SELECT vehicle,
       max(ts) AS newest,
       last_value(lat ORDER BY ts) FILTER (WHERE type = 'vehicle-position') AS lat,
       last_value(lng ORDER BY ts) FILTER (WHERE type = 'vehicle-position') AS lng,
       last_value(speed ORDER BY ts) FILTER (WHERE speed IS NOT NULL) AS speed,
       first_value(type ORDER BY ts) AS first_type,
       count(*) AS events
FROM fleet
GROUP BY vehicle;

CREATE MATERIALIZED VIEW by_type AS
SELECT vehicle, type, count(*) AS events, count(received) AS with_arrival, min(ts) AS first_at, max(ts) AS last_at,
       avg(speed) AS mean_speed, max(speed) AS fastest, sum(speed) FILTER (WHERE speed > 50.0) AS fast
FROM fleet
GROUP BY vehicle, type;

CREATE VIEW minutes AS
SELECT vehicle, date_trunc('minute', ts) AS minute, count(*) AS events, max(speed) AS fastest, min(altitude) AS lowest
FROM fleet
GROUP BY vehicle, date_trunc('minute', ts);

CREATE SINK latest_out FROM latest WITH (connector = 'mongodb', collection = 'latest', mode = 'upsert');
CREATE SINK by_type_out FROM by_type WITH (connector = 'mongodb', collection = 'by_type', mode = 'upsert');
CREATE SINK minutes_out FROM minutes WITH (connector = 'file', path = 'minutes');
CREATE SINK busy AS SELECT vehicle, count(*) AS minutes, sum(events) AS events, max(events) AS most FROM minutes
GROUP BY vehicle HAVING max(events) > 10
WITH (connector = 'file', path = 'busy');
CREATE SINK types AS SELECT DISTINCT replace(type, 'vehicle-', '') AS type FROM fleet
WITH (connector = 'file', path = 'types');
CREATE SINK sensors AS
SELECT vehicle, ts, ev ->> 'ignitionOffPeriod' AS off, ev -> 'pos' ->> 'accuracy' AS accuracy,
       CAST(ev -> 'pos' -> 'latlon' ->> 'lat' AS DOUBLE) = lat AS same
FROM fleet
WHERE type LIKE 'vehicle-ign%' OR type IN ('vehicle-harsh-braking', 'vehicle-stop-stats')
WITH (connector = 'file', path = 'sensors');
CREATE SINK headings AS
SELECT CASE WHEN azimuth < 90 THEN 'NE' WHEN azimuth < 180 THEN 'SE' WHEN azimuth < 270 THEN 'SW' ELSE 'NW' END AS heading,
       count(*) AS events, avg(altitude) AS altitude
FROM fleet
GROUP BY 1
WITH (connector = 'file', path = 'headings');
CREATE SINK late AS
SELECT vehicle, type, ts, received FROM fleet WHERE received > ts + INTERVAL '1 minute' OR received IS NULL
WITH (connector = 'file', path = 'late');
CREATE SINK places AS
SELECT vehicle, round(lat, 2) AS lat, round(lng, 2) AS lng FROM fleet
UNION
SELECT vehicle, round(lat, 2), round(lng, 2) FROM latest
WITH (connector = 'file', path = 'places');
