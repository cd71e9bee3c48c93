CREATE SOURCE events (
    id      BIGINT    NOT NULL,
    device  TEXT      NOT NULL,
    state   TEXT,
    value   DOUBLE,
    at      TIMESTAMP NOT NULL,
    tags    JSON,
    WATERMARK FOR at AS at - INTERVAL '10 seconds'
) WITH (connector = 'kafka', topic = 'events', format = 'json');

CREATE TABLE devices (device TEXT PRIMARY KEY, name TEXT) WITH (connector = 'kafka', topic = 'devices');

CREATE SINK out AS SELECT * FROM events AS e JOIN devices AS d ON e.device = d.device
WITH (connector = 'file', path = 'out.jsonl');
