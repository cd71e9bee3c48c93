CREATE SOURCE events (
    id        BIGINT,
    partition BIGINT METADATA VIRTUAL,
    at        TIMESTAMP METADATA FROM 'timestamp' VIRTUAL
) WITH (connector = 'kafka', topic = 'events');
