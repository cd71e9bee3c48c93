CREATE SOURCE events (
    id   BIGSERIAL,
    key  UUID,
    body JSONB,
    at   TIMESTAMPTZ,
    n    INT8
) WITH (connector = 'kafka', topic = 'events');
