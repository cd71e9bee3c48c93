CREATE SOURCE events (
    id TEXT,
    at TIMESTAMP NOT NULL,
    WATERMARK FOR at AS at
) WITH (connector = 'kafka', topic = 'events');

CREATE SINK out AS SELECT DISTINCT ON (id) id FROM events WITH (connector = 'stdout');
