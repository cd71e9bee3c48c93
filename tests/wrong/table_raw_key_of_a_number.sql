CREATE TABLE devices (
    id   BIGINT PRIMARY KEY,
    name TEXT
) WITH (connector = 'kafka', topic = 'devices', key.format = 'raw');
