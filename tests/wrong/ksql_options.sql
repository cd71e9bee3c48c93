CREATE SOURCE events (device TEXT, value DOUBLE)
WITH (connector = 'kafka', kafka_topic = 'events', value_format = 'json', timestamp = 'at');
