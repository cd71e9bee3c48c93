CREATE STREAM events (device VARCHAR KEY, value DOUBLE)
  WITH (kafka_topic = 'events', value_format = 'JSON', partitions = 1);
