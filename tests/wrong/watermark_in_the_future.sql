CREATE SOURCE events (
    at TIMESTAMP,
    WATERMARK FOR at AS at + INTERVAL '5 seconds'
) WITH (connector = 'kafka', topic = 'events');
