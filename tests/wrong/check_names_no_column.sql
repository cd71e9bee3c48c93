CREATE SOURCE events (
    id    BIGINT,
    value DOUBLE,
    CHECK (valu > 0)
) WITH (connector = 'kafka', topic = 'events');
