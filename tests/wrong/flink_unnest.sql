CREATE SOURCE events (
    id      BIGINT    NOT NULL,
    device  TEXT      NOT NULL,
    state   TEXT,
    value   DOUBLE,
    at      TIMESTAMP NOT NULL,
    tags    JSON,
    WATERMARK FOR at AS at - INTERVAL '10 seconds'
) WITH (connector = 'kafka', topic = 'events', format = 'json');

CREATE SINK out AS SELECT device, tag FROM events CROSS JOIN UNNEST(tags) AS t (tag)
WITH (connector = 'file', path = 'out.jsonl');
