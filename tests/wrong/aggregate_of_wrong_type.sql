CREATE SOURCE events (
    id      BIGINT    NOT NULL,
    device  TEXT      NOT NULL,
    value   DOUBLE,
    ok      BOOLEAN,
    at      TIMESTAMP NOT NULL,
    payload JSON      METADATA FROM 'payload'
) WITH (connector = 'kafka', topic = 'events', format = 'json');

CREATE SINK out AS
SELECT device, sum(device) AS s, avg(at) AS a FROM events GROUP BY device
WITH (connector = 'stdout');
