CREATE SOURCE "a/b" (id BIGINT) WITH (connector = 'kafka', topic = 'events');
