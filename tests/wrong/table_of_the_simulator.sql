CREATE TABLE devices (
    did  TEXT PRIMARY KEY,
    name TEXT
) WITH (connector = 'simulator');
