CREATE SOURCE events (
    id      TEXT      NOT NULL,
    device  TEXT,
    value   DOUBLE,
    at      TIMESTAMP NOT NULL,
    read_at TIMESTAMP METADATA FROM 'ingestion_time',
    payload JSON      METADATA FROM 'payload',
    WATERMARK FOR at AS at - INTERVAL '10 seconds'
) WITH (connector = 'kafka', topic = 'events', format = 'json');

CREATE SINK out AS SELECT DISTINCT ON (7, upper('x')) id, value FROM events WITH (connector = 'stdout');
