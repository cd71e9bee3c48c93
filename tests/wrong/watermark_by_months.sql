CREATE SOURCE events (
    at TIMESTAMP,
    WATERMARK FOR at AS at - INTERVAL '1 month'
) WITH (connector = 'kafka', topic = 'events');
