CREATE SOURCE readings (
    device TEXT NOT NULL,
    ts     TIMESTAMP NOT NULL
) WITH (connector = 'kafka', topic = 'readings', scan.watermark.alignment.max-drift = '10 minutes');

CREATE SINK copy FROM readings WITH (connector = 'file', path = 'copy.jsonl');
