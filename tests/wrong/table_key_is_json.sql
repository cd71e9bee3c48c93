CREATE TABLE devices (
    id   JSON PRIMARY KEY,
    name TEXT
) WITH (connector = 'kafka', topic = 'devices');
