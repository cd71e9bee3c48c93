CREATE SOURCE readings (
    vehicle TEXT NOT NULL,
    ts      TIMESTAMP NOT NULL
) WITH (connector = 'file', path = 'in.jsonl', pace = 'event_time');

CREATE SINK copy FROM readings WITH (connector = 'file', path = 'copy.jsonl');
