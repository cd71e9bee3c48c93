-- Metrics of databases, from any number of topics: rollups per minute and per five minutes, and alerts that are
-- raised and cleared once each. Log messages are counted by service and level.

CREATE SOURCE metrics (
    "timestamp"   TIMESTAMP NOT NULL,
    database_type TEXT      NOT NULL,
    instance_id   TEXT      NOT NULL,
    metric_name   TEXT      NOT NULL,
    value         DOUBLE    NOT NULL,
    tags          JSON,
    metadata      JSON,
    WATERMARK FOR "timestamp" AS "timestamp" - INTERVAL '30 seconds'
) WITH (connector = 'kafka', topic_pattern = 'org\.metrics\..*', format = 'json');

CREATE SOURCE logs (
    "timestamp" TIMESTAMP NOT NULL,
    level       TEXT      NOT NULL CHECK (level IN ('DEBUG', 'INFO', 'WARN', 'ERROR', 'FATAL')),
    message     TEXT,
    service     TEXT      NOT NULL,
    trace_id    TEXT,
    span_id     TEXT,
    context     JSON,
    WATERMARK FOR "timestamp" AS "timestamp" - INTERVAL '30 seconds'
) WITH (connector = 'kafka', topic = 'org.logs', format = 'json');

CREATE VIEW readings AS
SELECT database_type || ':' || instance_id AS instance, metric_name, value, "timestamp" FROM metrics;

CREATE MATERIALIZED VIEW metrics_1m AS
SELECT instance,
       metric_name,
       window_start,
       window_end,
       count(*)                                AS readings,
       sum(value)                              AS total,
       avg(value)                              AS mean,
       min(value)                              AS lowest,
       max(value)                              AS highest,
       last_value(value ORDER BY "timestamp")  AS newest
FROM readings
GROUP BY instance, metric_name, tumble("timestamp", INTERVAL '1 minute');

-- From the minutes, which are few, not from the readings again.
CREATE MATERIALIZED VIEW metrics_5m AS
SELECT instance,
       metric_name,
       window_start,
       window_end,
       sum(readings)               AS readings,
       sum(total) / sum(readings)  AS mean,
       min(lowest)                 AS lowest,
       max(highest)                AS highest
FROM metrics_1m
GROUP BY instance, metric_name, tumble(window_start, INTERVAL '5 minutes');

CREATE SINK rollup_1m FROM metrics_1m
WITH (connector = 'kafka', topic = 'metrics_1m', key = 'instance, metric_name, window_start, window_end');

CREATE SINK rollup_5m FROM metrics_5m
WITH (connector = 'mongodb', collection = 'metrics_5m', mode = 'upsert');

-- Hysteresis: a minute above the upper limit raises an alert, one below the lower limit clears it, and what is in
-- between leaves it as it is. So only the minutes beyond a limit count, and of those the ones that are on another
-- side than the one before.
CREATE VIEW limited AS
SELECT instance, metric_name, window_end, mean,
       CASE metric_name WHEN 'cpu_percent' THEN 85.0 WHEN 'replication_lag_seconds' THEN 10.0 END AS upper_limit,
       CASE metric_name WHEN 'cpu_percent' THEN 70.0 WHEN 'replication_lag_seconds' THEN 2.0 END  AS lower_limit
FROM metrics_1m;

CREATE VIEW beyond AS
SELECT instance, metric_name, window_end, mean, mean >= upper_limit AS is_high
FROM limited
WHERE mean >= upper_limit OR mean <= lower_limit;

CREATE VIEW sides AS
SELECT instance, metric_name, window_end, mean, is_high,
       lag(is_high) OVER (PARTITION BY instance, metric_name ORDER BY window_end) AS was_high
FROM beyond;

CREATE SINK alerts AS
SELECT instance, metric_name, window_end AS at,
       CASE WHEN is_high THEN 'raised' ELSE 'cleared' END AS alert,
       mean AS value
FROM sides
WHERE is_high <> coalesce(was_high, false)
WITH (connector = 'kafka', topic = 'metric_alerts', key = 'instance', key.format = 'raw');

CREATE MATERIALIZED VIEW log_minutes AS
SELECT service, level, window_start, window_end, count(*) AS messages
FROM logs
GROUP BY service, level, tumble("timestamp", INTERVAL '1 minute');

CREATE SINK log_counts FROM log_minutes
WITH (connector = 'kafka', topic = 'log_counts', key = 'service, level, window_start, window_end');

-- Since the beginning, and read live: tidemill query log_totals '{"service": "auth", "level": "ERROR"}'
CREATE MATERIALIZED VIEW log_totals AS
SELECT service, level, count(*) AS messages, max("timestamp") AS newest FROM logs GROUP BY service, level;

CREATE SINK log_totals_out FROM log_totals
WITH (connector = 'mongodb', collection = 'log_totals', mode = 'upsert');
