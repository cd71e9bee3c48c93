CREATE SOURCE a (k TEXT NOT NULL, ts TIMESTAMP NOT NULL, WATERMARK FOR ts AS ts - INTERVAL '10 seconds')
WITH (connector = 'kafka', topic = 'a');

CREATE VIEW counts WITH (state_retention = '7 days') AS SELECT k, count(*) AS n FROM a GROUP BY k;
CREATE VIEW months WITH (state_retention = '7 months') AS SELECT a.k FROM a JOIN a AS b ON a.k = b.k;
CREATE SOURCE p (k TEXT NOT NULL, ts TIMESTAMP NOT NULL) WITH (connector = 'kafka', topic = 'p');
CREATE VIEW counted WITH (state_retention = '7 days') AS SELECT p.k, n FROM p JOIN counts ON p.k = counts.k;
