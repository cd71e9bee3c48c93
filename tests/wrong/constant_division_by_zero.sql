CREATE SOURCE events (
    id      BIGINT    NOT NULL,
    device  TEXT      NOT NULL,
    value   DOUBLE,
    ok      BOOLEAN,
    at      TIMESTAMP NOT NULL,
    payload JSON      METADATA FROM 'payload'
) WITH (connector = 'kafka', topic = 'events', format = 'json');

CREATE SINK out AS
SELECT id / 0 AS x, id % 0 AS y FROM events
WITH (connector = 'stdout');
