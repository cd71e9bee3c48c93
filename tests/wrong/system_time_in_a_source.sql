CREATE SOURCE events (
    id BIGINT,
    device TEXT FOR SYSTEM_TIME AS OF PROCTIME()
) WITH (connector = 'kafka', topic = 'events');
