CREATE SOURCE events (
    id      TEXT      NOT NULL,
    device  TEXT,
    value   DOUBLE,
    at      TIMESTAMP NOT NULL,
    read_at TIMESTAMP METADATA FROM 'ingestion_time',
    payload JSON      METADATA FROM 'payload',
    WATERMARK FOR at AS at - INTERVAL '10 seconds'
) WITH (connector = 'kafka', topic = 'events', format = 'json');

CREATE VIEW a WITH (deduplicate_horizon = '0 s') AS SELECT DISTINCT ON (id) * FROM events;
CREATE VIEW b WITH (deduplicate_horizon = 'forever') AS SELECT DISTINCT ON (id) * FROM events;
CREATE VIEW c WITH (deduplicate_horizon = '1 month') AS SELECT DISTINCT ON (id) * FROM events;
CREATE VIEW d WITH (deduplicate_horizon = '1 hour') AS SELECT DISTINCT id FROM events;
