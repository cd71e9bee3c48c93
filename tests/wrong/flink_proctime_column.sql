CREATE SOURCE events (
    id   BIGINT,
    seen AS PROCTIME()
) WITH (connector = 'kafka', topic = 'events');
