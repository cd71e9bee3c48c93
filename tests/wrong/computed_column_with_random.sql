CREATE SOURCE events (
    id   BIGINT NOT NULL,
    lot  DOUBLE AS random(),
    seen DATE AS current_date
) WITH (connector = 'kafka', topic = 'events', format = 'json');

CREATE SINK out FROM events WITH (connector = 'stdout');
