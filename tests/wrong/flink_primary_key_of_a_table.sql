CREATE TABLE devices (
    id   TEXT,
    name TEXT,
    PRIMARY KEY (id) NOT ENFORCED
) WITH (connector = 'kafka', topic = 'devices');
