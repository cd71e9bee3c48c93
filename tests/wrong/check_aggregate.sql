CREATE SOURCE events (
    id BIGINT,
    CHECK (count(*) < 10),
    CHECK (id IN (SELECT 1))
) WITH (connector = 'kafka', topic = 'events');
