-- CSV in and out: a folder of files whose headers name the columns, each in its own order, and a topic whose
-- messages are records without header. What is legal in CSV stays whole: line breaks, quotes and separators in
-- texts, empty texts beside NULL, CRLF and byte order marks.

CREATE SOURCE stations (
    id      BIGINT    NOT NULL,
    name    TEXT,
    note    TEXT      DEFAULT 'none',
    lat     DOUBLE,
    active  BOOLEAN,
    opened  TIMESTAMP,
    detail  JSON,
    file    TEXT      METADATA FROM 'topic',
    record  TEXT      METADATA FROM 'payload',
    CHECK (lat BETWEEN -90 AND 90)
) WITH (connector = 'file', path = 'input/stations', format = 'csv', max_record_bytes = '400');

-- Without header the fields are the columns in their order; NULL is what is written for it.
CREATE SOURCE meters (
    station BIGINT    NOT NULL,
    label   TEXT,
    kwh     DOUBLE,
    ts      TIMESTAMP NOT NULL,
    WATERMARK FOR ts AS ts - INTERVAL '10 seconds'
) WITH (connector = 'kafka', topic = 'meters', format = 'csv', csv.field-delimiter = ';', csv.quote-character = '''',
        csv.null-literal = 'NULL', timestamp_format = 'epoch_s');

CREATE SINK catalogue AS
SELECT id, name, note, lat, active, opened, detail, file FROM stations
WITH (connector = 'file', path = 'output/catalogue.csv', format = 'csv');

CREATE SINK originals AS
SELECT id, record FROM stations WHERE active
WITH (connector = 'file', path = 'output/originals.jsonl');

CREATE SINK readings AS
SELECT station, label, kwh, ts FROM meters
WITH (connector = 'stdout', format = 'csv', csv.field-delimiter = '\t', csv.null-literal = 'NULL');

CREATE MATERIALIZED VIEW consumption AS
SELECT station, count(*) AS readings, sum(kwh) AS kwh, last_value(label ORDER BY ts) AS label
FROM meters
GROUP BY station;

CREATE SINK totals FROM consumption
WITH (connector = 'file', path = 'output/totals.csv', format = 'csv');
