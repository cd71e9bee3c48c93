CREATE TABLE devices (id VARCHAR PRIMARY KEY, name VARCHAR)
  WITH (kafka_topic = 'devices', value_format = 'JSON');
