-- The right side of IS DISTINCT FROM was `b AND c`, which compiles where b is a boolean.
CREATE SOURCE readings (id BIGINT NOT NULL, a BOOLEAN, b BOOLEAN, c BOOLEAN)
WITH (connector = 'kafka', topic = 'readings');

CREATE SINK both AS SELECT id FROM readings WHERE a IS DISTINCT FROM b AND c
WITH (connector = 'file', path = 'both');

CREATE SINK either AS SELECT id FROM readings WHERE a IS NOT DISTINCT FROM b OR c
WITH (connector = 'file', path = 'either');
