-- An auction house: bids on lots, as they come from two salesrooms. Day and time of a bid are two fields, so its event
-- time is computed when the record is read. Windows stand in FROM here, in the ways of RisingWave and of Flink.
CREATE SOURCE bids (
    lot     BIGINT    NOT NULL,
    bidder  TEXT      NOT NULL,
    cents   BIGINT    NOT NULL CHECK (cents > 0),
    day     TEXT,
    clock   TEXT,
    at      TIMESTAMP NOT NULL AS to_timestamp(day || ' ' || clock, '%m/%d/%Y %H:%M:%S'),
    large   BOOLEAN   AS cents >= 50000,
    WATERMARK FOR at AS at - INTERVAL '30 seconds'
) WITH (connector = 'kafka', topic = 'bids');

CREATE SOURCE lots (
    lot      BIGINT    NOT NULL,
    category TEXT      NOT NULL,
    opened   TIMESTAMP NOT NULL,
    WATERMARK FOR opened AS opened - INTERVAL '30 seconds'
) WITH (connector = 'kafka', topic = 'lots');

-- Bids in the last ten seconds of each lot, every two seconds.
CREATE VIEW activity AS
SELECT lot, window_start, window_end, count(*) AS bids, count(DISTINCT bidder) AS bidders
FROM hop(bids, at, INTERVAL '2 seconds', INTERVAL '10 seconds')
GROUP BY lot, window_start, window_end;

-- The lots with the most bids of these ten seconds.
CREATE SINK hot_lots AS
SELECT a.window_end, a.lot, a.bids, a.bidders
FROM activity a
JOIN (SELECT max(bids) AS bids, window_end FROM activity GROUP BY window_end) AS most
  ON a.window_end = most.window_end AND a.bids = most.bids
WITH (connector = 'kafka', topic = 'hot_lots');

-- Who has bid most in each minute: each bid with its minute, and the minutes with their highest bid.
CREATE SINK highest_bids AS
SELECT b.window_start, b.lot, b.bidder, b.cents, b.at
FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(at), INTERVAL '1' MINUTE)) AS b
JOIN (SELECT max(cents) AS cents, window_start
      FROM tumble(bids, at, INTERVAL '1 minute')
      GROUP BY window_start, window_end) AS highest
  ON b.window_start = highest.window_start AND b.cents = highest.cents
WITH (connector = 'kafka', topic = 'highest_bids');

-- What was bid on a lot within its first half minute, if anything.
CREATE SINK openings AS
SELECT l.lot, l.category, b.bidder, b.cents
FROM lots l
LEFT JOIN bids b ON b.lot = l.lot AND b.at BETWEEN l.opened AND l.opened + INTERVAL '30 seconds'
WITH (connector = 'kafka', topic = 'openings');

-- Rounds of bidding: no bid of the same bidder for more than 20 seconds ends one.
CREATE SINK rounds AS
SELECT bidder, window_start, window_end, count(*) AS bids, max(cents) AS highest, bool_or(large) AS large
FROM TABLE(SESSION(TABLE bids PARTITION BY bidder, DESCRIPTOR(at), INTERVAL '20' SECOND))
GROUP BY bidder, window_start, window_end
WITH (connector = 'kafka', topic = 'rounds');

-- How bidding on each lot has gone on, in steps of a minute within five.
CREATE SINK progress AS
SELECT lot, window_start, window_end, count(*) AS bids, sum(cents) AS cents
FROM (SELECT * FROM cumulate(bids, at, INTERVAL '1 minute', INTERVAL '5 minutes') WHERE large) AS steps
GROUP BY lot, window_start, window_end
WITH (connector = 'kafka', topic = 'progress');
