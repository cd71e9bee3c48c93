CREATE TABLE devices (
    id   TEXT PRIMARY KEY,
    name TEXT
) WITH (connector = 'file', path = 'devices.jsonl', key.format = 'raw');
