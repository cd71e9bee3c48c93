CREATE TABLE devices (
    device_id TEXT,
    name      TEXT,
    PRIMARY KEY (devise_id)
) WITH (connector = 'kafka', topic = 'devices');
