CREATE SOURCE events (
    id BIGINT,
    ID TEXT
) WITH (connector = 'kafka', topic = 'events');
