CREATE TABLE devices (
    id   TEXT METADATA FROM 'key',
    name TEXT,
    PRIMARY KEY (id)
) WITH (connector = 'kafka', topic = 'devices');
