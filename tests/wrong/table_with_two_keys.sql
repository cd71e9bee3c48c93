CREATE TABLE devices (
    id   TEXT PRIMARY KEY,
    name TEXT,
    PRIMARY KEY (id, name)
) WITH (connector = 'kafka', topic = 'devices');
