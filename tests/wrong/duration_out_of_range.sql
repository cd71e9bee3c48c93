CREATE SOURCE events (id BIGINT)
WITH (connector = 'kafka', topic = 'events', max_future = '-5 minutes', idle_timeout = '99999999999999999999s');
