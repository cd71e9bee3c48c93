CREATE SOURCE events (
    id      BIGINT    NOT NULL,
    device  TEXT      NOT NULL,
    value   DOUBLE,
    at      TIMESTAMP NOT NULL
) WITH (connector = 'kafka', topic = 'events');

CREATE TABLE devices (
    site   TEXT,
    number BIGINT,
    name   TEXT,
    PRIMARY KEY (site, number)
) WITH (connector = 'kafka', topic = 'devices');

CREATE SINK out AS
SELECT e.id FROM events e WHERE NOT EXISTS (SELECT 1 FROM devices WHERE number = e.id % 10 AND site = e.device)
WITH (connector = 'stdout');
