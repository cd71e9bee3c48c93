CREATE SOURCE events (
    id    BIGINT,
    small TINYINT,
    price DECIMAL(10, 2),
    name  VARCHAR(20),
    at    TIMESTAMP(3),
    zoned TIMESTAMP_LTZ(3),
    tags  ARRAY<STRING>,
    pos   ROW<lat DOUBLE, lon DOUBLE>
) WITH (connector = 'kafka', topic = 'events');
