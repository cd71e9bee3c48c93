-- Who drove what, and with which licence: rows that are in one relation and not in another, and rows beside values
-- of all of them.
CREATE SOURCE shifts (
    driver TEXT   NOT NULL,
    class  TEXT,
    hours  DOUBLE NOT NULL CHECK (hours BETWEEN 0 AND 24)
) WITH (connector = 'kafka', topic = 'shifts');

CREATE SOURCE licences (
    driver TEXT   NOT NULL,
    class  TEXT
) WITH (connector = 'kafka', topic = 'licences');

-- NULL is a class like any other here, as in DISTINCT.
CREATE SINK unlicensed AS
SELECT driver, class FROM shifts EXCEPT SELECT driver, class FROM licences
WITH (connector = 'mongodb', collection = 'unlicensed', mode = 'upsert');

CREATE SINK licensed AS
SELECT * FROM (SELECT driver, class FROM shifts INTERSECT SELECT driver, class FROM licences) AS held
WHERE class IS NOT NULL
WITH (connector = 'mongodb', collection = 'licensed', mode = 'upsert');

-- Licences of drivers who have not driven, or classes that nobody has driven.
CREATE SINK idle AS
SELECT 'driver' AS kind, driver AS name FROM licences EXCEPT SELECT 'driver', driver FROM shifts
UNION
(SELECT 'class' AS kind, class AS name FROM licences EXCEPT SELECT 'class' AS kind, class FROM shifts)
WITH (connector = 'file', path = 'idle.jsonl');

CREATE MATERIALIZED VIEW worked AS
SELECT driver, sum(hours) AS hours, count(*) AS shifts FROM shifts GROUP BY driver;

CREATE SINK overtime AS
SELECT * FROM worked
WHERE hours > 1.25 * (SELECT avg(hours) FROM worked) AND shifts > (SELECT min(shifts) FROM worked)
WITH (connector = 'file', path = 'overtime.jsonl');

CREATE SINK shares AS
SELECT driver, hours / (SELECT sum(hours) FROM worked) AS share, (SELECT max(hours) AS most FROM worked) - hours AS behind
FROM worked
WITH (connector = 'mongodb', collection = 'shares', mode = 'upsert');
