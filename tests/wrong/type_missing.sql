CREATE SOURCE events (
    id,
    device TEXT
) WITH (connector = 'kafka', topic = 'events');
