CREATE SOURCE events (
    id      BIGINT    NOT NULL,
    device  TEXT      NOT NULL,
    value   DOUBLE,
    ok      BOOLEAN,
    at      TIMESTAMP NOT NULL,
    payload JSON      METADATA FROM 'payload'
) WITH (connector = 'kafka', topic = 'events', format = 'json');

CREATE SINK out AS
SELECT name
FROM (SELECT upper(device) AS name, sqrt(device) AS root FROM events) AS e
WITH (connector = 'stdout');
