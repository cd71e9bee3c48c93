-- Which alarms of devices are acknowledged, and how soon: joins of streams within a distance in event time.
--
-- Rows of both streams come late and out of order by up to a minute. Each is kept only as long as one that belongs
-- to it may come: an alarm for ten minutes, an acknowledgement for a minute or two.

CREATE SOURCE alarms (
    alarm_id TEXT      NOT NULL,
    device   TEXT      NOT NULL,
    code     BIGINT    NOT NULL,
    severity BIGINT,
    raised   TIMESTAMP NOT NULL,
    WATERMARK FOR raised AS raised - INTERVAL '1 minute'
) WITH (connector = 'kafka', topic = 'alarms');

CREATE SOURCE acknowledgements (
    device       TEXT      NOT NULL,
    operator     TEXT,
    level        BIGINT,                        -- up to which severity the operator may acknowledge
    acknowledged TIMESTAMP NOT NULL,
    WATERMARK FOR acknowledged AS acknowledged - INTERVAL '1 minute'
) WITH (connector = 'kafka', topic = 'acknowledgements');

-- An alarm beside each acknowledgement of its device in the ten minutes behind it; one without any leaves alone, as
-- soon as none can come any more. The severity is a part of the match.
CREATE VIEW responses AS
SELECT a.alarm_id, a.device, a.code, a.raised, k.operator, k.acknowledged
FROM alarms a
LEFT JOIN acknowledgements k
       ON k.device = a.device
      AND k.acknowledged BETWEEN a.raised AND a.raised + INTERVAL '10 minutes'
      AND k.level >= a.severity;

CREATE SINK answered AS
SELECT alarm_id, device, operator, raised, acknowledged FROM responses WHERE acknowledged IS NOT NULL
WITH (connector = 'kafka', topic = 'answered', key = 'device', key.format = 'raw');

CREATE SINK unanswered AS
SELECT alarm_id, device, code, raised FROM responses WHERE acknowledged IS NULL
WITH (connector = 'mongodb', collection = 'unanswered', mode = 'append', key = 'alarm_id');

-- The same alarm of a device again, within five minutes: a stream joined with itself.
CREATE SINK repeated AS
SELECT first.device, first.code, first.alarm_id AS alarm_id, again.alarm_id AS again
FROM alarms first
JOIN alarms again
  ON again.device = first.device AND again.code = first.code
 AND again.raised > first.raised AND again.raised - first.raised <= INTERVAL '5 minutes'
WITH (connector = 'kafka', topic = 'repeated', key = 'device');

-- Acknowledgements of nothing.
CREATE SINK surplus AS
SELECT device, operator, acknowledged FROM acknowledgements k
WHERE NOT EXISTS (
    SELECT 1 FROM alarms a
    WHERE a.device = k.device
      AND a.raised >= k.acknowledged - INTERVAL '10 minutes' AND a.raised <= k.acknowledged
)
WITH (connector = 'file', path = 'output/surplus.jsonl');

-- What an operator answers within half a minute behind another alarm: the times of pairs are event time again.
CREATE VIEW handled AS
SELECT alarm_id, operator, acknowledged
FROM alarms a
JOIN acknowledgements k
  ON k.device = a.device AND k.acknowledged BETWEEN a.raised AND a.raised + INTERVAL '10 minutes';

CREATE SINK busy AS
SELECT one.operator, one.alarm_id, next.alarm_id AS next
FROM handled one
JOIN handled next
  ON next.operator = one.operator
 AND next.acknowledged > one.acknowledged AND next.acknowledged < one.acknowledged + INTERVAL '30 seconds'
WITH (connector = 'file', path = 'output/busy.jsonl');
