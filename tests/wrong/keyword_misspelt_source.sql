CREATE SUORCE events (id BIGINT) WITH (connector = 'kafka', topic = 'events');
