CREATE SOURCE select (id BIGINT) WITH (connector = 'kafka', topic = 'events');
