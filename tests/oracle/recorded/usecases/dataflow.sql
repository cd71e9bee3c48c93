-- The two use cases of a telematics unit, one partition each.
CREATE SOURCE events (
    did            TEXT NOT NULL,
    "timestamp"    TEXT,
    name           TEXT NOT NULL,
    value_type     TEXT,
    float_value    DOUBLE,
    int_value      BIGINT,
    "eventTime"    TIMESTAMP NOT NULL,
    "receivedTime" TIMESTAMP,
    file           TEXT METADATA FROM 'topic',
    number         BIGINT METADATA FROM 'offset',
    payload        JSON METADATA FROM 'payload'
) WITH (connector = 'kafka', topic = 'events');

CREATE MATERIALIZED VIEW latest AS
SELECT file, did,
       max("eventTime") AS newest,
       last_value(float_value ORDER BY "eventTime") FILTER (WHERE name = 'odometer') AS odo,
       last_value(int_value ORDER BY "eventTime") FILTER (WHERE name = 'soc') AS soc,
       last_value(int_value ORDER BY "eventTime") FILTER (WHERE name = 'speed') AS speed
FROM events
GROUP BY file, did;

CREATE SINK latest_out FROM latest WITH (connector = 'file', path = 'latest');

CREATE SINK delays AS
SELECT file, number, name, "receivedTime" > "eventTime" + INTERVAL '1 second' AS late,
       to_timestamp_millis(CAST("timestamp" AS BIGINT)) = "eventTime" AS same_time
FROM events
WITH (connector = 'file', path = 'delays');

CREATE SINK signals AS
SELECT DISTINCT upper(name) AS name, CASE value_type WHEN '0' THEN 'float' ELSE 'int' END AS kind FROM events
WITH (connector = 'file', path = 'signals');

CREATE SINK received AS
SELECT payload ->> 'int_value' AS number, payload ->> 'string_value' AS text, payload AS document FROM events
WITH (connector = 'file', path = 'received');

CREATE SINK totals AS
SELECT count(*) AS rows, sum(int_value) AS total, avg(float_value) AS mean, min("eventTime") AS first_at FROM events
WITH (connector = 'file', path = 'totals');

CREATE SINK over_latest AS SELECT did, count(*) AS files, max(speed) AS speed, min(odo) AS odo FROM latest GROUP BY did
WITH (connector = 'file', path = 'over_latest');
