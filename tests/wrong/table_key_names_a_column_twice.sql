CREATE TABLE devices (
    id TEXT,
    PRIMARY KEY (id, id)
) WITH (connector = 'kafka', topic = 'devices');
