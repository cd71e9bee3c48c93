CREATE SOURCE events (id BIGINT)
WITH (connector = 'kafka', topic = '${ENVIRONMENT}_events');
