CREATE TABLE devices (
    id   TEXT DEFAULT 'none' PRIMARY KEY,
    name TEXT
) WITH (connector = 'kafka', topic = 'devices');
