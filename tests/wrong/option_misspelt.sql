CREATE SOURCE events (id BIGINT)
WITH (connector = 'kafka', topc = 'events', fromat = 'json', max_futur = '1 minute');
