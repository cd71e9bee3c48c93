CREATE SOURCE events (id BIGINT) WTIH (connector = 'kafka', topic = 'events');
