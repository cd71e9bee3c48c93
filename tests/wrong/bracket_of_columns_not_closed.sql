CREATE SOURCE events (
    id     BIGINT,
    device TEXT
WITH (connector = 'kafka', topic = 'events');

CREATE SINK out FROM events WITH (connector = 'stdout');
