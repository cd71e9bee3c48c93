CREATE SOURCE events (
    id   BIGINT NOT NULL,
    text TEXT,
    seen TIMESTAMP AS now()
) WITH (connector = 'kafka', topic = 'events', format = 'json');

CREATE SINK out FROM events WITH (connector = 'stdout');
