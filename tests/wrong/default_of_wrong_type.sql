CREATE SOURCE events (
    id   BIGINT    DEFAULT 'none',
    n    INT       DEFAULT 3000000000,
    at   TIMESTAMP DEFAULT 'yesterday',
    ok   BOOLEAN   DEFAULT 7,
    name TEXT      DEFAULT device
) WITH (connector = 'kafka', topic = 'events');
