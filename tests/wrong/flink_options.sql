CREATE SOURCE events (
    id BIGINT
) WITH ('connector' = 'kafka', 'topic' = 'events', 'properties.bootstrap.servers' = 'localhost:9092', 'properties.group.id' = 'g', 'value.format' = 'json');
