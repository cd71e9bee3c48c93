CREATE SOURCE events (id BIGINT) WITH (connector = 'file', path = 'a.jsonl', topic = 'events');
CREATE SINK out FROM events WITH (connector = 'stdout', collection = 'c');
