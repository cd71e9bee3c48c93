CREATE TABLE devices (
    id   TEXT PRIMARY KEY,
    name TEXT
) WITH (connector = 'kafka', topic = 'devices', max_future = '1 minute');
