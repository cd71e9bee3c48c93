CREATE SOURCE events (
    id   BIGINT,
    name TEXT,
    PRIMARY KEY (id) NOT ENFORCED
) WITH (connector = 'kafka', topic = 'events');
