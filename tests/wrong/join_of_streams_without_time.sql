CREATE SOURCE a (k TEXT NOT NULL, ts TIMESTAMP NOT NULL, WATERMARK FOR ts AS ts - INTERVAL '10 seconds')
WITH (connector = 'kafka', topic = 'a');
CREATE SOURCE b (k TEXT NOT NULL, ts TIMESTAMP NOT NULL, WATERMARK FOR ts AS ts - INTERVAL '10 seconds')
WITH (connector = 'kafka', topic = 'b');
CREATE SOURCE plain (k TEXT NOT NULL, ts TIMESTAMP NOT NULL) WITH (connector = 'kafka', topic = 'plain');

-- No time at all, and only one end.
CREATE VIEW every AS SELECT a.k FROM a JOIN b ON a.k = b.k;
CREATE VIEW later AS SELECT a.k FROM a JOIN b ON a.k = b.k AND b.ts >= a.ts;
-- A time that nobody has promised anything of.
CREATE VIEW promised AS SELECT a.k FROM a LEFT JOIN plain p ON a.k = p.k AND p.ts = a.ts;
-- An empty distance.
CREATE VIEW nothing AS SELECT a.k FROM a, b WHERE a.k = b.k AND b.ts > a.ts AND b.ts < a.ts - INTERVAL '1 minute';
-- IN cannot say it.
CREATE VIEW members AS SELECT k FROM a WHERE k IN (SELECT k FROM b);
