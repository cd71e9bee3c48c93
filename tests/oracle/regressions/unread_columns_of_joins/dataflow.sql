-- seed j, dataflow 24, made small: of a join of streams nothing is read but that there are pairs.

CREATE SOURCE events (id BIGINT NOT NULL, k TEXT, ts TIMESTAMP NOT NULL, WATERMARK FOR ts AS ts - INTERVAL '1 minute')
WITH (connector = 'kafka', topic = 'events');

CREATE VIEW pairs AS
SELECT a.ts AS first, upper(b.k) AS k, b.id AS id
FROM events AS a JOIN events AS b ON a.k = b.k AND b.ts > a.ts AND b.ts <= a.ts + INTERVAL '1 minute';

CREATE SINK constants AS
WITH together AS (SELECT 'pair' AS x, 1 AS y FROM pairs UNION ALL SELECT k AS x, id AS y FROM events) SELECT x, 8 AS z FROM together
WITH (connector = 'file', path = 'constants.jsonl');
