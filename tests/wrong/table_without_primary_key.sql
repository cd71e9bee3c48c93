CREATE TABLE devices (
    id   TEXT NOT NULL,
    name TEXT
) WITH (connector = 'kafka', topic = 'devices');
