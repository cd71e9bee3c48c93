CREATE SOURCE readings (
    device TEXT NOT NULL,
    ts     TIMESTAMP NOT NULL,
    WATERMARK FOR ts AS ts - INTERVAL '10 seconds'
) WITH (connector = 'kafka', topic = 'readings', scan.watermark.alignment.max-drift = '0s');

CREATE SINK copy FROM readings WITH (connector = 'file', path = 'copy.jsonl');
