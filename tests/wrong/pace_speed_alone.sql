CREATE SOURCE readings (
    vehicle TEXT NOT NULL,
    ts      TIMESTAMP NOT NULL,
    WATERMARK FOR ts AS ts - INTERVAL '10 seconds'
) WITH (connector = 'file', path = 'in.jsonl', pace.speed = '60');

CREATE SINK copy FROM readings WITH (connector = 'file', path = 'copy.jsonl');
