CREATE SOURCE events (id BIGINT) WITH (connector = 'kafka');
CREATE SINK a FROM events WITH (connector = 'mongodb', mode = 'append');
CREATE SINK b FROM events WITH (topic = 'b');
