CREATE SOURCE events (
    id      BIGINT    NOT NULL,
    device  TEXT      NOT NULL,
    value   DOUBLE,
    ok      BOOLEAN,
    at      TIMESTAMP NOT NULL,
    payload JSON      METADATA FROM 'payload'
) WITH (connector = 'kafka', topic = 'events', format = 'json');

CREATE SINK a FROM events WITH (connector = 'file', path = 'out/a.jsonl');
CREATE SINK b FROM events WITH (connector = 'file', path = './out/../out/a.jsonl');
