-- Runs of players in games, some of them told late: who has come last, who was first, and who is in front. Places change
-- with every run, so these are updating relations; what is kept are the rows in front, not all runs.
CREATE SOURCE runs (
    player TEXT      NOT NULL,
    game   TEXT      NOT NULL,
    score  BIGINT,
    at     TIMESTAMP NOT NULL,
    WATERMARK FOR at AS at - INTERVAL '10 seconds'
) WITH (connector = 'kafka', topic = 'runs');

-- The newest run of each player. Of two at the same time it is the one that was told later.
CREATE MATERIALIZED VIEW newest AS
SELECT player, game, score, at
FROM (SELECT *, row_number() OVER (PARTITION BY player ORDER BY at DESC) AS n FROM runs) AS numbered
WHERE n = 1;

CREATE SINK newest_runs FROM newest
WITH (connector = 'mongodb', collection = 'newest_runs', mode = 'upsert');

-- The run with which each player has begun.
CREATE SINK beginnings AS
SELECT player, game, at FROM runs QUALIFY row_number() OVER (PARTITION BY player ORDER BY at) = 1
WITH (connector = 'kafka', topic = 'beginnings', mode = 'upsert');

-- The three best runs of each game, with their places.
CREATE VIEW best AS
SELECT game, place, player, score
FROM (
    SELECT game, player, score, row_number() OVER (PARTITION BY game ORDER BY score DESC NULLS LAST) AS place FROM runs
) AS placed
WHERE place <= 3 AND score > 0;

CREATE SINK best_runs FROM best
WITH (connector = 'mongodb', collection = 'best_runs', mode = 'upsert');

-- In how many games a player is among the best three: places do not matter here, only who is there.
CREATE SINK fame AS
SELECT player, count(DISTINCT game) AS games, count(*) AS runs FROM best GROUP BY player
WITH (connector = 'mongodb', collection = 'fame', mode = 'upsert');

CREATE VIEW totals AS
SELECT player, sum(score) AS total, count(*) AS runs FROM runs GROUP BY player;

-- All players by how often they have won fifty; who has as much has the same place.
CREATE SINK standings AS
SELECT player, total, rank() OVER (ORDER BY total / 50 DESC NULLS LAST) AS place,
       dense_rank() OVER (ORDER BY total / 50 DESC NULLS LAST) AS level
FROM totals
WITH (connector = 'mongodb', collection = 'standings', mode = 'upsert');

-- The two in front, with what they have done last.
CREATE SINK in_front AS
SELECT front.player, front.total, newest.game AS last_game
FROM (SELECT player, total FROM totals QUALIFY row_number() OVER (ORDER BY total DESC NULLS LAST, player) <= 2) AS front
JOIN newest ON newest.player = front.player
WITH (connector = 'kafka', topic = 'in_front', mode = 'upsert');

-- Who is first in a game, and what the first three have together: both of the same places.
CREATE SINK podiums AS
WITH placed AS (
    SELECT game, player, score, row_number() OVER (PARTITION BY game ORDER BY score DESC NULLS LAST) AS place FROM runs
)
SELECT winner.game, winner.player, three.score
FROM (SELECT game, player FROM placed WHERE place = 1) AS winner
JOIN (SELECT game, sum(score) AS score FROM placed WHERE place <= 3 GROUP BY game) AS three ON three.game = winner.game
WITH (connector = 'mongodb', collection = 'podiums', mode = 'upsert');
