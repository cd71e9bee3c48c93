CREATE SOURCE events (
    id      BIGINT    NOT NULL,
    device  TEXT      NOT NULL,
    value   DOUBLE,
    ok      BOOLEAN,
    at      TIMESTAMP NOT NULL,
    payload JSON      METADATA FROM 'payload'
) WITH (connector = 'kafka', topic = 'events', format = 'json');

CREATE VIEW fast AS SELECT devcie FROM events WHERE value > 100;
CREATE VIEW faster AS SELECT * FROM fast;

CREATE SINK a FROM fast   WITH (connector = 'stdout');
CREATE SINK b FROM faster WITH (connector = 'stdout');
CREATE SINK c AS SELECT nonsense FROM fast WITH (connector = 'stdout');
