CREATE TABLE devices WITH (connector = 'kafka', topic = 'devices');
