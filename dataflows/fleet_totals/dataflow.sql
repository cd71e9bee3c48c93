-- A fleet at a glance, kept by what changes: a view over the view of latest states. When a vehicle changes, its old
-- row is taken back from the group in which it was and its new row is added to the group in which it is; nobody else
-- is looked at, however large the fleet.

CREATE SOURCE telemetry_raw (
    did         TEXT      NOT NULL,
    name        TEXT      NOT NULL,
    int_value   BIGINT,
    "eventTime" TIMESTAMP NOT NULL,
    WATERMARK FOR "eventTime" AS "eventTime" - INTERVAL '10 seconds'
) WITH (connector = 'kafka', topic = 'telemetry_raw', format = 'json');

CREATE MATERIALIZED VIEW vehicle_latest_state AS
SELECT did,
       last_value(int_value ORDER BY "eventTime") FILTER (WHERE name = 'soc')             AS soc,
       last_value(int_value ORDER BY "eventTime") FILTER (WHERE name = 'speed')           AS speed,
       last_value(int_value ORDER BY "eventTime") FILTER (WHERE name = 'ignition_status') AS ignition
FROM telemetry_raw
GROUP BY did;

-- NULL is the group of the vehicles that have not said yet whether their ignition is on.
CREATE MATERIALIZED VIEW fleet_totals AS
SELECT ignition,
       count(*)                           AS vehicles,
       avg(soc)                           AS mean_soc,
       count(*) FILTER (WHERE speed > 0)  AS moving
FROM vehicle_latest_state
GROUP BY ignition;

CREATE SINK totals FROM fleet_totals
WITH (connector = 'mongodb', collection = 'fleet_totals', mode = 'upsert');
