CREATE SOURCE my-events (id BIGINT) WITH (connector = 'kafka', topic = 'events');
