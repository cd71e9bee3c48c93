CREATE SOURCE events (
    id BIGINT,
    at TIMESTAMP,
    WATERMARK FOR att AS att - INTERVAL '5 seconds'
) WITH (connector = 'kafka', topic = 'events');
