CREATE SOURCE events (
    o TEXT   METADATA FROM 'offset',
    t BIGINT METADATA FROM 'ingestion_time'
) WITH (connector = 'kafka', topic = 'events');
