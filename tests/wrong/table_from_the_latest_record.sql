CREATE TABLE devices (
    id   TEXT PRIMARY KEY,
    name TEXT
) WITH (connector = 'kafka', topic = 'devices', scan.startup.mode = 'latest');
