CREATE SOURCE readings (
    vehicle TEXT NOT NULL,
    ts      TIMESTAMP NOT NULL
) WITH (connector = 'kafka', topic = 'readings', device = 'vehicle');

CREATE SINK copy FROM readings WITH (connector = 'file', path = 'copy.jsonl');
