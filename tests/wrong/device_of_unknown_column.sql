CREATE SOURCE readings (
    vehicle TEXT NOT NULL,
    ts      TIMESTAMP NOT NULL,
    WATERMARK FOR ts AS ts - INTERVAL '10 seconds'
) WITH (connector = 'kafka', topic = 'readings', device = 'vehicel');

CREATE SINK copy FROM readings WITH (connector = 'file', path = 'copy.jsonl');
