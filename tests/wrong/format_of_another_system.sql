CREATE SOURCE events (
    id      BIGINT    NOT NULL,
    device  TEXT      NOT NULL,
    state   TEXT,
    value   DOUBLE,
    at      TIMESTAMP NOT NULL,
    tags    JSON,
    WATERMARK FOR at AS at - INTERVAL '10 seconds'
) WITH (connector = 'kafka', topic = 'events', format = 'json');

CREATE SINK out AS SELECT device, to_timestamp(state, 'yyyy-MM-dd HH:mm:ss') AS since FROM events
WITH (connector = 'file', path = 'out.jsonl');
