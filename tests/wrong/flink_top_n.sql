CREATE SOURCE events (
    id      BIGINT    NOT NULL,
    device  TEXT      NOT NULL,
    value   DOUBLE,
    ok      BOOLEAN,
    at      TIMESTAMP NOT NULL,
    payload JSON      METADATA FROM 'payload'
) WITH (connector = 'kafka', topic = 'events', format = 'json');

CREATE SINK out AS
SELECT device, value FROM (
  SELECT device, value, ROW_NUMBER() OVER (PARTITION BY device ORDER BY at DESC) AS rn FROM events
) AS ranked WHERE rn = 1
WITH (connector = 'stdout');
