CREATE SOURCE readings (
    vehicle TEXT NOT NULL,
    ts      TIMESTAMP NOT NULL,
    WATERMARK FOR ts AS ts - INTERVAL '10 seconds'
) WITH (connector = 'file', path = 'in.jsonl', pace = 'event_time', pace.speed = 'fast');

CREATE SINK copy FROM readings WITH (connector = 'file', path = 'copy.jsonl');
