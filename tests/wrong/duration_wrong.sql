CREATE SOURCE events (id BIGINT)
WITH (connector = 'kafka', topic = 'events', max_future = '1 month', idle_timeout = 'soon');
