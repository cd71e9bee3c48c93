CREATE SOURCE events (
    id   BIGINT NOT NULL,
    text TEXT,
    seen  TIMESTAMP METADATA FROM 'ingestion_time',
    later TIMESTAMP AS seen + INTERVAL '1 day'
) WITH (connector = 'kafka', topic = 'events', format = 'json');

CREATE SINK out FROM events WITH (connector = 'stdout');
