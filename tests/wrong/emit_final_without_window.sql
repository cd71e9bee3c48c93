CREATE SOURCE events (
    id      BIGINT    NOT NULL,
    device  TEXT      NOT NULL,
    value   DOUBLE,
    ok      BOOLEAN,
    at      TIMESTAMP NOT NULL,
    payload JSON      METADATA FROM 'payload'
) WITH (connector = 'kafka', topic = 'events', format = 'json');

CREATE VIEW counts AS
SELECT device, count(*) AS n FROM events GROUP BY device EMIT FINAL;
