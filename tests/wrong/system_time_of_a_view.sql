CREATE SOURCE events (
    id      BIGINT    NOT NULL,
    device  TEXT      NOT NULL,
    value   DOUBLE,
    at      TIMESTAMP NOT NULL
) WITH (connector = 'kafka', topic = 'events');

CREATE TABLE devices (
    site   TEXT,
    number BIGINT,
    name   TEXT,
    PRIMARY KEY (site, number)
) WITH (connector = 'kafka', topic = 'devices');

CREATE VIEW latest AS
SELECT device, max(value) AS value FROM events GROUP BY device;

CREATE SINK out AS
SELECT l.device, d.n
FROM latest l
JOIN (SELECT site, count(*) AS n FROM devices GROUP BY site) AS d ON l.device = d.site
JOIN devices FOR SYSTEM_TIME AS OF PROCTIME() AS x ON x.site = l.device AND x.number = d.n
WITH (connector = 'stdout');
