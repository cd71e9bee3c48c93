CREATE SOURCE events (
    id   BIGINT NOTNULL,
    name TEXT NOT NUL
) WITH (connector = 'kafka', topic = 'events');
