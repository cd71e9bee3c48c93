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
SELECT device, window_end, count(*) AS n FROM events GROUP BY device, tumble(at, INTERVAL '1 minute');

CREATE SINK out AS
SELECT device, row_number() OVER (PARTITION BY device ORDER BY n DESC) AS place FROM v
WITH (connector = 'stdout');
