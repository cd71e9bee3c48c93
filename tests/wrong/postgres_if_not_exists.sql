CREATE SOURCE IF NOT EXISTS events (id BIGINT) WITH (connector = 'kafka', topic = 'events');
