CREATE SOURCE events (
    id     BIGINT,
    device TEXT,
) WITH (connector = 'kafka', topic = 'events');
