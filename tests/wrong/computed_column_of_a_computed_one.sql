CREATE SOURCE events (
    id   BIGINT NOT NULL,
    text TEXT,
    twice BIGINT AS id * 2,
    more  BIGINT AS twice + 1
) WITH (connector = 'kafka', topic = 'events', format = 'json');

CREATE SINK out FROM events WITH (connector = 'stdout');
