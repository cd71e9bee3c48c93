CREATE SOURCE events (id BIGINT) WITH (connector = 'mongodb', collection = 'events');
