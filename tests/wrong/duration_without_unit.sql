CREATE SOURCE events (id BIGINT)
WITH (connector = 'kafka', topic = 'events', max_future = '60', idle_timeout = 10);
