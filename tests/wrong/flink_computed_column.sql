CREATE SOURCE events (
    id  BIGINT,
    two AS id * 2
) WITH (connector = 'kafka', topic = 'events');
