CREATE SOURCE events (
    id      BIGINT    NOT NULL,
    device  TEXT      NOT NULL,
    value   DOUBLE,
    ok      BOOLEAN,
    at      TIMESTAMP NOT NULL,
    payload JSON      METADATA FROM 'payload'
) WITH (connector = 'kafka', topic = 'events', format = 'json');

CREATE SINK out AS
WITH fast AS (SELECT device, valu FROM events),
     loud AS (SELECT upper(device) AS name FROM fast)
SELECT name FROM loud WHERE name = 5
WITH (connector = 'stdout');
