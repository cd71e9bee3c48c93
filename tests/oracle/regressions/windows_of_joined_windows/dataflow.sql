-- A window that finds no partner leaves the join when the other side has passed it, which can be an epoch after it has
-- left its view: it was late to a GROUP BY of the same windows behind the join.

CREATE SOURCE s (
    k TEXT,
    ts TIMESTAMP NOT NULL,
    WATERMARK FOR ts AS ts - INTERVAL '1 second'
) WITH (connector = 'kafka', topic = 's');

CREATE VIEW seconds AS
SELECT k, window_start, window_end, count(*) AS n FROM s GROUP BY k, tumble(ts, INTERVAL '1 second');

CREATE VIEW followed AS
SELECT a.k AS k, a.window_end AS window_end, a.n AS n, b.n AS next
FROM seconds AS a LEFT JOIN seconds AS b ON a.k = b.k AND b.window_start BETWEEN a.window_end - INTERVAL '300 milliseconds' AND a.window_end;

CREATE SINK by_window AS
SELECT window_end, count(*) AS keys, sum(n) AS n, sum(next) AS next FROM followed GROUP BY window_end
WITH (connector = 'file', path = 'by_window.jsonl');

CREATE SINK alone AS
SELECT window_end, count(*) AS keys FROM
(SELECT a.k AS k, a.window_end AS window_end FROM seconds AS a LEFT JOIN seconds AS b ON b.k < a.k AND a.window_end = b.window_end) AS pairs
GROUP BY window_end
WITH (connector = 'file', path = 'alone.jsonl');

CREATE SINK unfollowed AS
SELECT window_end, count(*) AS keys FROM
(SELECT a.k AS k, a.window_end AS window_end FROM seconds AS a
 WHERE NOT EXISTS (SELECT 1 FROM seconds AS b WHERE a.k = b.k AND b.window_start = a.window_end)) AS rows
GROUP BY window_end
WITH (connector = 'file', path = 'unfollowed.jsonl');
