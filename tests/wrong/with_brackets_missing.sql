CREATE SOURCE events (id BIGINT)
WITH connector = 'kafka', topic = 'events';
