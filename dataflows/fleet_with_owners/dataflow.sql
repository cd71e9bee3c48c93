-- Vehicles and who owns them: three topics, each reduced to the newest state per key, then joined.
-- A row of the result is rewritten when any of the three changes.

CREATE SOURCE telemetry (
    did   TEXT   NOT NULL,
    speed BIGINT,
    ts    TIMESTAMP NOT NULL
) WITH (connector = 'kafka', topic = 'telemetry', format = 'json');

CREATE SOURCE registrations (
    did   TEXT   NOT NULL,
    owner BIGINT,                                  -- NULL: given back
    ts    TIMESTAMP NOT NULL
) WITH (connector = 'kafka', topic = 'registrations', format = 'json');

CREATE SOURCE people (
    id    INT    NOT NULL,
    name  TEXT,
    limit_kmh BIGINT,
    ts    TIMESTAMP NOT NULL
) WITH (connector = 'kafka', topic = 'people', format = 'json');

CREATE MATERIALIZED VIEW vehicles AS
SELECT did, last_value(speed ORDER BY ts) AS speed FROM telemetry GROUP BY did;

CREATE MATERIALIZED VIEW registered AS
SELECT did, last_value(owner ORDER BY ts) AS owner FROM registrations GROUP BY did;

CREATE VIEW owners AS
SELECT id, last_value(name ORDER BY ts) AS name, last_value(limit_kmh ORDER BY ts) AS limit_kmh
FROM people GROUP BY id;

-- Every vehicle once, with its owner where there is one. Each meets at most one, so that its key is that of
-- the vehicles.
CREATE MATERIALIZED VIEW fleet AS
SELECT v.did, v.speed, o.id AS owner, o.name
FROM vehicles v
LEFT JOIN registered r ON r.did = v.did
LEFT JOIN owners o ON o.id = r.owner;

CREATE SINK fleet_out FROM fleet
WITH (connector = 'mongodb', collection = 'fleet', mode = 'upsert');

-- The condition beside the equality is a part of the match: a vehicle within the limit has no owner here.
CREATE SINK too_fast AS
SELECT f.did, o.name AS warned
FROM fleet f LEFT JOIN owners o ON o.id = f.owner AND f.speed > o.limit_kmh
WITH (connector = 'kafka', topic = 'too_fast', mode = 'upsert');

-- An aggregate over a join; owners without a vehicle count as well.
CREATE MATERIALIZED VIEW by_owner AS
SELECT o.id, count(f.did) AS vehicles, max(f.speed) AS fastest
FROM owners o LEFT JOIN fleet f ON f.owner = o.id
GROUP BY o.id;

CREATE SINK by_owner_out FROM by_owner
WITH (connector = 'mongodb', collection = 'by_owner', mode = 'upsert');

-- Every vehicle beside one row about all of them.
CREATE VIEW average AS SELECT avg(speed) AS speed, count(*) AS vehicles FROM vehicles;

CREATE SINK above_average AS
SELECT v.did, v.speed, a.speed AS average FROM vehicles v, average a WHERE v.speed > a.speed
WITH (connector = 'file', path = 'output/above_average.jsonl');

-- Two vehicles of one owner.
CREATE SINK neighbours AS
SELECT a.did AS a, b.did AS b, name FROM fleet a JOIN fleet b USING (name) WHERE a.did < b.did
WITH (connector = 'file', path = 'output/neighbours.jsonl');

-- Which sides do not know of each other.
CREATE SINK either_side AS
SELECT v.did AS seen, r.did AS registered, v.speed, r.owner
FROM vehicles v FULL JOIN registered r ON v.did = r.did
WITH (connector = 'file', path = 'output/either_side.jsonl');

CREATE SINK silent AS
SELECT did, owner FROM registered WHERE did NOT IN (SELECT did FROM vehicles)
WITH (connector = 'file', path = 'output/silent.jsonl');

CREATE SINK unknown AS
SELECT did, speed FROM vehicles v
WHERE NOT EXISTS (SELECT 1 FROM registered r WHERE r.did = v.did AND r.owner IS NOT NULL)
WITH (connector = 'file', path = 'output/unknown.jsonl');

CREATE SINK in_use AS
SELECT id, name FROM owners WHERE id IN (SELECT owner FROM registered) AND EXISTS (
    SELECT 1 FROM fleet f WHERE f.owner = owners.id AND f.speed > owners.limit_kmh / 2)
WITH (connector = 'file', path = 'output/in_use.jsonl');
