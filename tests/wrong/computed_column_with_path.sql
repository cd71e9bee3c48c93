CREATE SOURCE events (
    id   BIGINT NOT NULL,
    text TEXT,
    twice BIGINT PATH 'a.b' AS id * 2
) WITH (connector = 'kafka', topic = 'events', format = 'json');

CREATE SINK out FROM events WITH (connector = 'stdout');
