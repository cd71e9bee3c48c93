CREATE SOURCE events (
    at TIMESTAMP,
    WATERMARK FOR at AS at - 5000
) WITH (connector = 'kafka', topic = 'events');
