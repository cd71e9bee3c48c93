CREATE SOURCE events (
    at   TIMESTAMP,
    seen TIMESTAMP,
    WATERMARK FOR at AS seen - INTERVAL '5 seconds'
) WITH (connector = 'kafka', topic = 'events');
