-- seed j, dataflow 29, made small: what stands below a NULL that comes out of a join is not computed with.

CREATE SOURCE events (k TEXT, t TIMESTAMP, ts TIMESTAMP NOT NULL, WATERMARK FOR ts AS ts - INTERVAL '1 minute')
WITH (connector = 'kafka', topic = 'events');

CREATE SINK joined_streams AS
SELECT a.ts, date_trunc('day', a.t) AS day, date_trunc('day', date_trunc('hour', b.t)) AS other_day
FROM events AS a FULL JOIN events AS b ON a.k = b.k AND b.ts BETWEEN a.ts - INTERVAL '1 minute' AND a.ts - INTERVAL '1 second'
WITH (connector = 'file', path = 'joined_streams.jsonl');

CREATE VIEW latest AS SELECT k, max(t) AS t FROM events GROUP BY k;
CREATE VIEW counted AS SELECT k, count(*) AS n, min(t) AS t FROM events WHERE k <> 'a' GROUP BY k;

CREATE SINK joined_views AS
SELECT a.k, date_trunc('day', a.t) AS day, date_trunc('day', date_trunc('hour', b.t)) AS other_day, b.n + 1 AS n
FROM latest AS a FULL JOIN counted AS b ON a.k = b.k
WITH (connector = 'file', path = 'joined_views.jsonl');
