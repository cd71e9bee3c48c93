-- What makes a group: nothing at all (one row, always), columns, expressions, numbers and names of the SELECT
-- list; NULL, NaN and both zeros as keys.

CREATE SOURCE readings (
    device TEXT      NOT NULL,
    value  DOUBLE,
    steps  BIGINT,
    ts     TIMESTAMP NOT NULL
) WITH (connector = 'kafka', topic = 'readings');

-- Nothing ever arrives here.
CREATE SOURCE silent (device TEXT NOT NULL, value BIGINT) WITH (connector = 'kafka', topic = 'silent');

CREATE MATERIALIZED VIEW latest AS
SELECT device, last_value(value ORDER BY ts) AS value, count(*) AS readings FROM readings GROUP BY device;

-- Without GROUP BY there is one group of all rows: over events, over an updating view, over no rows at all.
CREATE MATERIALIZED VIEW totals AS
SELECT count(*) AS readings, count(value) AS known, sum(steps) AS steps, sum(CAST(steps AS DOUBLE)) AS exact,
       avg(value) FILTER (WHERE value > 0) AS mean, min(ts) AS first_at
FROM readings;

CREATE MATERIALIZED VIEW fleet AS
SELECT count(*) AS devices, sum(readings) AS readings, max(value) AS top, max(device) AS last FROM latest;

CREATE MATERIALIZED VIEW nothing AS
SELECT count(*) AS records, sum(value) AS total, max(device) AS last FROM silent;

CREATE SINK totals_out FROM totals WITH (connector = 'mongodb', collection = 'totals', mode = 'upsert');
CREATE SINK fleet_out FROM fleet
WITH (connector = 'kafka', topic = 'fleet', mode = 'upsert', shards = 3);
CREATE SINK nothing_out FROM nothing WITH (connector = 'mongodb', collection = 'nothing', mode = 'upsert');

-- At most one row: HAVING holds or does not.
CREATE SINK alarm AS SELECT count(*) AS devices FROM latest WHERE value > 50.0 HAVING count(*) > 1
WITH (connector = 'file', path = 'output/alarm.jsonl');
CREATE SINK no_alarm AS SELECT count(*) AS devices FROM latest WHERE value > 50.0 HAVING count(*) > 5
WITH (connector = 'file', path = 'output/no_alarm.jsonl');

-- -0.0 is 0.0, all NaN are one, NULL equals NULL.
CREATE MATERIALIZED VIEW by_value AS SELECT value * 1e10 * 0.0 AS zero, count(*) AS readings FROM readings GROUP BY 1;
CREATE SINK by_value_out AS
SELECT CASE WHEN zero IS NULL THEN 'null' WHEN zero > 1e308 THEN 'NaN' ELSE 'zero' END AS zero, readings FROM by_value
WITH (connector = 'file', path = 'output/by_value.jsonl');

CREATE MATERIALIZED VIEW by_hour AS
SELECT date_trunc('hour', ts) AS hour, steps % 2 = 0 AS even, count(*) AS readings, sum(steps) AS steps
FROM readings
GROUP BY hour, even;
CREATE SINK by_hour_out FROM by_hour WITH (connector = 'mongodb', collection = 'by_hour', mode = 'upsert');

CREATE SINK by_name AS
SELECT upper(device) AS name, CAST(steps AS TEXT) AS steps, max(ts) AS last_at FROM readings GROUP BY upper(device), 2
WITH (connector = 'kafka', topic = 'names', mode = 'upsert');
