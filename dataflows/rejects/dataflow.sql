-- Records that cannot be used become dead letters, each with the reason and the rule; all others go through.

CREATE SOURCE readings (
    id       BIGINT    NOT NULL,
    sensor   TEXT      NOT NULL,
    celsius  DOUBLE,
    total    BIGINT,
    parts    INT       DEFAULT 1,
    active   BOOLEAN,
    code     TEXT,
    divisor  BIGINT,
    ts       TIMESTAMP NOT NULL,
    CHECK (celsius >= -273.15),                  -- fails on FALSE only: a NULL passes
    CHECK (length(sensor) <= 8),
    CHECK (divisor IS NULL OR id % divisor = 0), -- cannot be evaluated where divisor is 0
    WATERMARK FOR ts AS ts - INTERVAL '5 seconds'
) WITH (connector = 'kafka', topic = 'readings', max_record_bytes = '300', max_future = '1 hour');

CREATE SINK good FROM readings
WITH (connector = 'kafka', topic = 'readings_good');

-- An expression that fails on a row: the row does not reach this sink, but it reaches the others.
CREATE SINK ratios AS
SELECT id, total / parts AS per_part, total * 2 AS twice, CAST(code AS BIGINT) AS code
FROM readings
WHERE 10 / parts > 0
WITH (connector = 'kafka', topic = 'readings_ratios');

-- AND evaluates its right side only where the left one leaves the matter open, so nothing fails here.
CREATE SINK guarded AS
SELECT id, sensor FROM readings WHERE parts <> 0 AND total / parts > 1
WITH (connector = 'kafka', topic = 'readings_guarded');

-- A sum that does not fit into its type: the group has no row until it fits again.
CREATE MATERIALIZED VIEW totals AS
SELECT sensor, count(*) AS readings, sum(total) AS total FROM readings GROUP BY sensor;

CREATE SINK totals_out FROM totals
WITH (connector = 'mongodb', collection = 'totals', mode = 'upsert');
