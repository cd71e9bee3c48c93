CREATE SOURCE events (id BIGINT) WITH (connector = 'kafka', topic = 'events')
CREATE SINK out FROM events WITH (connector = 'stdout');
