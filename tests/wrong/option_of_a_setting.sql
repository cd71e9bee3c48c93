CREATE SOURCE events (id BIGINT)
WITH (connector = 'kafka', topic = 'events', bootstrap.servers = 'localhost:9092', password = 'x');
