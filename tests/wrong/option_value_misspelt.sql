CREATE SOURCE events (id BIGINT)
WITH (connector = 'kafak', topic = 'events');

CREATE SOURCE others (id BIGINT)
WITH (connector = 'kafka', topic = 'events', format = 'jsno', timestamp_format = 'epoch_sec', dead_letters = 'files');
