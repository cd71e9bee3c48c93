CREATE SOURCE events (
    id     BIGINT NOT NULL
    device TEXT NOT NULL
) WITH (connector = 'kafka', topic = 'events');
