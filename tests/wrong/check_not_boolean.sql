CREATE SOURCE events (
    id    BIGINT CHECK (id + 1),
    name  TEXT,
    CHECK (name)
) WITH (connector = 'kafka', topic = 'events');
