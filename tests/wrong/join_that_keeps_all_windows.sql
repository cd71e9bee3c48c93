CREATE SOURCE a (k TEXT NOT NULL, ts TIMESTAMP NOT NULL, WATERMARK FOR ts AS ts - INTERVAL '10 seconds')
WITH (connector = 'kafka', topic = 'a');
CREATE VIEW counts AS SELECT k, count(*) AS n FROM a GROUP BY k;
CREATE VIEW minutes AS SELECT k, window_end, count(*) AS n FROM a GROUP BY k, tumble(ts, INTERVAL '1 minute');
CREATE VIEW running AS
SELECT k, window_end, count(*) AS n FROM a GROUP BY k, tumble(ts, INTERVAL '1 minute') EMIT CHANGES;

CREATE VIEW shares AS SELECT m.k, m.n, c.n AS of FROM minutes m JOIN counts c ON m.k = c.k;
CREATE VIEW both_running AS
SELECT m.k, m.n, r.n AS other FROM minutes m JOIN running r ON m.k = r.k AND m.window_end = r.window_end;
CREATE SINK events AS SELECT a.k, c.n FROM a JOIN counts c ON a.k = c.k
WITH (connector = 'file', path = 'events.jsonl');
