-- A number in SQL is a BIGINT; the oracle computed with 32 bits where DuckDB does.
CREATE SOURCE readings (id BIGINT NOT NULL, small INT)
WITH (connector = 'kafka', topic = 'readings');

CREATE VIEW squares AS SELECT ((-400) * (-400)) AS a, 500 AS b, CASE WHEN id > 1 THEN 100000 ELSE 70000 END AS c, small FROM readings;

CREATE SINK products AS SELECT a * a AS a, b * b * b * b AS b, c * c AS c, small * 2000000000 AS d FROM squares
WITH (connector = 'file', path = 'products');

CREATE SINK groups AS SELECT b, round(avg(c), 2) AS mean FROM squares GROUP BY 1
WITH (connector = 'file', path = 'groups');
