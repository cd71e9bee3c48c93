-- Seed 7: d = -0.0 was not BETWEEN 0.0 AND 1.0, though GROUP BY takes both zeros for one.
CREATE SOURCE readings (id BIGINT NOT NULL, d DOUBLE) WITH (connector = 'kafka', topic = 'readings');

CREATE SINK between_zero AS SELECT id FROM readings WHERE d BETWEEN 0.0 AND 1.0
WITH (connector = 'file', path = 'between');

CREATE SINK kinds AS
SELECT id, d = 0.0 AS equal, d < 0.0 AS less, d IN (0.0, 2.0) AS listed, nullif(d, 0.0) AS other,
       d IS DISTINCT FROM 0.0 AS different
FROM readings
WITH (connector = 'file', path = 'kinds');

CREATE SINK zeros AS SELECT d = 0.0 AS zero, count(*) AS number FROM readings GROUP BY d = 0.0
WITH (connector = 'file', path = 'zeros');
