CREATE SOURCE events (
    id      BIGINT    NOT NULL,
    device  TEXT      NOT NULL,
    value   DOUBLE,
    ok      BOOLEAN,
    at      TIMESTAMP NOT NULL,
    payload JSON      METADATA FROM 'payload',
    WATERMARK FOR at AS at - INTERVAL '10 seconds'
) WITH (connector = 'kafka', topic = 'events', format = 'json');

CREATE VIEW v AS
SELECT device, window_end, count(*) AS n FROM events GROUP BY device, tumble(at, INTERVAL '1 minute') EMIT CHANGES;

CREATE SINK out AS
SELECT device, window_end FROM (
  SELECT *, row_number() OVER (PARTITION BY window_end ORDER BY n DESC) AS place FROM v
) AS placed WHERE place = 1
WITH (connector = 'mongodb', collection = 'out', mode = 'upsert');
