CREATE SOURCE events (
    id      BIGINT    NOT NULL,
    device  TEXT      NOT NULL,
    value   DOUBLE,
    ok      BOOLEAN,
    at      TIMESTAMP NOT NULL,
    payload JSON      METADATA FROM 'payload'
) WITH (connector = 'kafka', topic = 'events', format = 'json');

CREATE VIEW a AS SELECT devcie FROM events;
CREATE VIEW b AS SELECT device, uper(device) AS u FROM events WHERE value > 'x';

CREATE SINK c FROM events WITH (connector = 'kafka', topics = 'c');
CREATE SINK d FROM evnts WITH (connector = 'stdot');
