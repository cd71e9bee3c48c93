-- Seed 2005: GROUP BY of the key of an inner query was one of all its columns, which JSON cannot be.
CREATE SOURCE readings (id BIGINT NOT NULL, device TEXT, value BIGINT, body JSON)
WITH (connector = 'kafka', topic = 'readings');

CREATE SINK devices AS
SELECT device, count(*) AS devices, sum(greatest) AS greatest
FROM (SELECT device, max(value) AS greatest, last_value(body ORDER BY id) AS newest FROM readings GROUP BY device) AS q
GROUP BY device
WITH (connector = 'mongodb', collection = 'devices', mode = 'upsert');
