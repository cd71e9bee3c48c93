-- Signals of a fleet, one per event, become three things: the history of all events as they were received, a topic
-- of values that are easier to use, and one live document per vehicle.

CREATE SOURCE telemetry_raw (
    did            TEXT      NOT NULL,
    "timestamp"    TEXT,
    name           TEXT      NOT NULL,
    value_type     TEXT,                         -- '0': float_value counts, '1': int_value, else string_value
    float_value    DOUBLE,
    string_value   TEXT,
    int_value      BIGINT,                       -- arrives as 100 and as "100": both are 100
    "eventTime"    TIMESTAMP NOT NULL,           -- RFC 3339 text or epoch milliseconds
    "receivedTime" TIMESTAMP,
    payload        JSON      METADATA FROM 'payload',
    ingestion_time TIMESTAMP METADATA FROM 'ingestion_time',
    CHECK (float_value IS NOT NULL OR string_value IS NOT NULL OR int_value IS NOT NULL),
    WATERMARK FOR "eventTime" AS "eventTime" - INTERVAL '10 seconds'
) WITH (connector = 'kafka', topic = 'telemetry_raw', format = 'json');

-- Every event for ever, exactly as it was received: "0" stays text, unknown fields stay too.
CREATE SINK history AS
SELECT payload, ingestion_time AS "dbIngestion_time"
FROM telemetry_raw
WITH (connector = 'mongodb', collection = 'vehicle_history', mode = 'append', document = 'payload');

-- One value per event, whatever it came as; the events of a vehicle stay in their order.
CREATE SINK normalised AS
SELECT did,
       name,
       CASE WHEN value_type = '0' THEN float_value
            WHEN value_type = '1' THEN CAST(int_value AS DOUBLE)
       END AS value,
       CASE WHEN value_type NOT IN ('0', '1') THEN string_value END AS text,
       "eventTime",
       "receivedTime"
FROM telemetry_raw
WITH (connector = 'kafka', topic = 'telemetry_normalised', key = 'did');

-- The newest value of each signal by event time: an older event that arrives later changes nothing.
CREATE MATERIALIZED VIEW vehicle_latest_state AS
SELECT did,
       max("eventTime")                                                                     AS "eventTime",
       last_value(float_value ORDER BY "eventTime") FILTER (WHERE name = 'odometer')        AS odo,
       last_value(int_value   ORDER BY "eventTime") FILTER (WHERE name = 'soc')             AS soc,
       last_value(int_value   ORDER BY "eventTime") FILTER (WHERE name = 'speed')           AS speed,
       last_value(int_value   ORDER BY "eventTime") FILTER (WHERE name = 'ignition_status') AS ignition,
       max(ingestion_time)                                                                  AS ingestion_time
FROM telemetry_raw
GROUP BY did;

CREATE SINK latest_state FROM vehicle_latest_state
WITH (connector = 'mongodb', collection = 'mongo_vehicle_latest_state', mode = 'upsert');
