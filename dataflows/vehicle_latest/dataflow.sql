-- The newest value of each signal of a vehicle by event time, and nothing else: the smallest dataflow with a
-- GROUP BY, by which the cost of keyed state is measured.

CREATE SOURCE telemetry_raw (
    did            TEXT      NOT NULL,
    name           TEXT      NOT NULL,
    float_value    DOUBLE,
    string_value   TEXT,
    int_value      BIGINT,                       -- arrives as 100 and as "100": both are 100
    "eventTime"    TIMESTAMP NOT NULL,           -- RFC 3339 text or epoch milliseconds
    CHECK (float_value IS NOT NULL OR string_value IS NOT NULL OR int_value IS NOT NULL),
    WATERMARK FOR "eventTime" AS "eventTime" - INTERVAL '10 seconds'
) WITH (connector = 'kafka', topic = 'telemetry_raw', format = 'json');

CREATE MATERIALIZED VIEW vehicle_latest_state AS
SELECT did,
       max("eventTime")                                                                     AS "eventTime",
       last_value(float_value ORDER BY "eventTime") FILTER (WHERE name = 'odometer')        AS odo,
       last_value(int_value   ORDER BY "eventTime") FILTER (WHERE name = 'soc')             AS soc,
       last_value(int_value   ORDER BY "eventTime") FILTER (WHERE name = 'speed')           AS speed,
       last_value(int_value   ORDER BY "eventTime") FILTER (WHERE name = 'ignition_status') AS ignition
FROM telemetry_raw
GROUP BY did;

CREATE SINK latest_state FROM vehicle_latest_state
WITH (connector = 'kafka', topic = 'vehicle_latest_state', mode = 'upsert');
