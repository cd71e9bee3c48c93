-- The trips of each vehicle: how long, how far, and what they have cost of the battery. A vehicle sends one signal
-- in each event; a trip are the minutes in which its ignition was on or it moved, with at most five minutes between.

CREATE SOURCE telemetry_raw (
    did         TEXT      NOT NULL,
    name        TEXT      NOT NULL,
    float_value DOUBLE,
    int_value   BIGINT,
    "eventTime" TIMESTAMP NOT NULL,
    CHECK (float_value IS NOT NULL OR int_value IS NOT NULL),
    WATERMARK FOR "eventTime" AS "eventTime" - INTERVAL '1 minute'
) WITH (connector = 'kafka', topic = 'telemetry_raw', format = 'json');

CREATE VIEW signals AS
SELECT did, "eventTime",
       CASE WHEN name = 'odometer' THEN float_value END                                       AS odometer,
       CASE WHEN name = 'soc' THEN int_value END                                              AS soc,
       CASE WHEN name = 'speed' THEN int_value END                                            AS speed,
       coalesce(name = 'ignition_status' AND int_value = 1 OR name = 'speed' AND int_value > 0, false) AS active
FROM telemetry_raw
WHERE name IN ('odometer', 'soc', 'speed', 'ignition_status');

-- The signals of a minute side by side.
CREATE VIEW minutes AS
SELECT did,
       window_start,
       window_end,
       bool_or(active)                                           AS active,
       min("eventTime") FILTER (WHERE active)                    AS active_from,
       max("eventTime") FILTER (WHERE active)                    AS active_to,
       min(odometer)                                             AS odometer_from,
       max(odometer)                                             AS odometer_to,
       first_value(soc ORDER BY "eventTime") IGNORE NULLS        AS soc_from,
       last_value(soc ORDER BY "eventTime") IGNORE NULLS         AS soc_to,
       max(speed)                                                AS top_speed
FROM signals
GROUP BY did, tumble("eventTime", INTERVAL '1 minute');

CREATE VIEW active_minutes AS
SELECT did, window_start AS minute, active_from, active_to, odometer_from, odometer_to, soc_from, soc_to, top_speed
FROM minutes
WHERE active;

CREATE MATERIALIZED VIEW trips AS
SELECT did,
       window_start,
       window_end,
       min(active_from)                                              AS started,
       max(active_to)                                                AS ended,
       count(*)                                                      AS minutes,
       max(odometer_to) - min(odometer_from)                         AS distance_km,
       first_value(soc_from ORDER BY minute) IGNORE NULLS
         - last_value(soc_to ORDER BY minute) IGNORE NULLS           AS soc_used,
       max(top_speed)                                                AS top_speed
FROM active_minutes
GROUP BY did, session(minute, INTERVAL '5 minutes');

-- Of a battery of 60 kWh; negative where the vehicle was charged with its ignition on.
CREATE SINK fleet_trips AS
SELECT did, window_start, window_end, started, ended,
       CAST(round(extract(epoch FROM ended) - extract(epoch FROM started)) AS BIGINT)  AS duration_s,
       distance_km, soc_used, soc_used * 60 / 100.0 AS energy_kwh, top_speed
FROM trips
WITH (connector = 'mongodb', collection = 'fleet_trips', mode = 'upsert');
