CREATE TABLE devices (
    id TEXT PRIMARY KEY,
    at TIMESTAMP,
    WATERMARK FOR at AS at - INTERVAL '10 seconds'
) WITH (connector = 'kafka', topic = 'devices');
