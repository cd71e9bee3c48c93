CREATE SOURCE events (
    at TIMESTAMP,
    WATERMARK FOR at AS at - INTERVAL '5' FORTNIGHT
) WITH (connector = 'kafka', topic = 'events');
