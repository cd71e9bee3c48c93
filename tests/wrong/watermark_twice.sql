CREATE SOURCE events (
    at TIMESTAMP,
    WATERMARK FOR at AS at,
    WATERMARK FOR at AS at - INTERVAL '1 second'
) WITH (connector = 'kafka', topic = 'events');
