CREATE TABLE devices (
    site   TEXT,
    number TEXT,
    PRIMARY KEY (site, number)
) WITH (connector = 'kafka', topic = 'devices', key.format = 'raw');
