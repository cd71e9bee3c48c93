CREATE SOURCE events (
    id   BIGINT NOT NULL,
    text TEXT,
    twice BIGINT AS it * 2
) WITH (connector = 'kafka', topic = 'events', format = 'json');

CREATE SINK out FROM events WITH (connector = 'stdout');
