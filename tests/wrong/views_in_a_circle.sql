CREATE SOURCE events (
    id      BIGINT    NOT NULL,
    device  TEXT      NOT NULL,
    value   DOUBLE,
    ok      BOOLEAN,
    at      TIMESTAMP NOT NULL,
    payload JSON      METADATA FROM 'payload'
) WITH (connector = 'kafka', topic = 'events', format = 'json');

CREATE VIEW a AS SELECT device FROM b;
CREATE VIEW b AS SELECT device FROM a;
CREATE SINK out FROM b WITH (connector = 'stdout');
