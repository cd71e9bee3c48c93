CREATE SOURCE events (
    id     BIGNIT NOT NULL,
    device STRNG,
    value  DUOBLE,
    at     TIMESTMAP
) WITH (connector = 'kafka', topic = 'events');
