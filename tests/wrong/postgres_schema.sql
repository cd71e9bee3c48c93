CREATE SOURCE public.events (id BIGINT) WITH (connector = 'kafka', topic = 'events');
