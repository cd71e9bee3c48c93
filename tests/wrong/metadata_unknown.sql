CREATE SOURCE events (
    id BIGINT,
    o  BIGINT METADATA FROM 'ofset',
    h  JSON   METADATA FROM 'header',
    x  TEXT   METADATA FROM 'schema_id'
) WITH (connector = 'kafka', topic = 'events');
