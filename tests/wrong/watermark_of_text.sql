CREATE SOURCE events (
    at TEXT,
    WATERMARK FOR at AS at - INTERVAL '5 seconds'
) WITH (connector = 'kafka', topic = 'events');
