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
SELECT e.id, d.name FROM events e FULL JOIN devices d ON e.device = d.site AND e.id = d.number
WITH (connector = 'stdout');
