-- The smallest dataflow: from a file into a file, every type once, nothing lost and nothing changed but the spelling.

CREATE SOURCE events (
    id      BIGINT NOT NULL,
    kind    TEXT,
    count   INT,
    value   DOUBLE,
    ok      BOOLEAN DEFAULT TRUE,
    at      TIMESTAMP,
    detail  JSON
) WITH (connector = 'file', path = 'input/events.jsonl', timestamp_format = 'epoch_s');

CREATE SINK copy FROM events
WITH (connector = 'file', path = 'output/copy.jsonl');
