CREATE TABLE devices (
    id    BIGINT PRIMARY KEY,
    name  TEXT,
    upper TEXT AS upper(name)
) WITH (connector = 'kafka', topic = 'devices');

CREATE SINK out FROM devices WITH (connector = 'stdout');
