-- Fields deep in a record, JSON that stays JSON, and what is known about a record besides its content.

CREATE SOURCE positions (
    vehicle     TEXT      NOT NULL PATH 'ev.vehicleId',
    kind        TEXT      PATH 'ev.type' DEFAULT 'unknown',
    lat         DOUBLE    PATH 'ev.pos.latlon.lat',
    lng         DOUBLE    PATH 'ev.pos.latlon.lng',
    speed       INT       PATH 'ev.pos.speed',
    pos         JSON      PATH 'ev.pos',
    tags        JSON,
    ts          TIMESTAMP NOT NULL PATH 'ev.ts',
    file        TEXT      METADATA FROM 'topic',
    part        INT       METADATA FROM 'partition',
    number      BIGINT    METADATA FROM 'offset',
    record_key  TEXT      METADATA FROM 'key',
    headers     JSON      METADATA FROM 'headers',
    broker_time TIMESTAMP METADATA FROM 'timestamp',
    read_at     TIMESTAMP METADATA FROM 'ingestion_time',
    received    JSON      METADATA FROM 'payload',
    CHECK (lat BETWEEN -90.0 AND 90.0),
    WATERMARK FOR ts AS ts - INTERVAL '1 minute'
) WITH (connector = 'file', path = 'input/positions');

CREATE SINK flat AS
SELECT vehicle, kind, lat, lng, speed, ts, file, part, number, record_key, broker_time, read_at, now() AS written_at
FROM positions
WITH (connector = 'file', path = 'output/flat.jsonl');

CREATE SINK documents AS
SELECT vehicle, pos, tags, headers, received
FROM positions
WITH (connector = 'file', path = 'output/documents.jsonl');

-- The record as it was received, with fields of our own behind it; a field of the same name gives way.
CREATE SINK archive AS
SELECT received, vehicle AS id, number, upper(kind) AS kind, read_at AS "readAt"
FROM positions
WITH (connector = 'mongodb', collection = 'positions', mode = 'append', key = 'id, number', document = 'received');

CREATE MATERIALIZED VIEW fastest AS
SELECT vehicle,
       count(*)                                                      AS positions,
       max(speed)                                                    AS speed,
       first_value(kind ORDER BY ts)                                 AS first_kind,
       last_value(lat ORDER BY ts) FILTER (WHERE lat IS NOT NULL)    AS lat
FROM positions
GROUP BY vehicle;

CREATE SINK fastest_out FROM fastest
WITH (connector = 'mongodb', collection = 'fastest', mode = 'upsert');
