CREATE SOURCE 2fast (id BIGINT) WITH (connector = 'kafka', topic = 'events');
