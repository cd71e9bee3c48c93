CREATE SOURCE events (
    lat DOUBLE PATH '$.pos.lat',
    lon DOUBLE PATH 'pos..lon',
    alt DOUBLE PATH pos.alt
) WITH (connector = 'kafka', topic = 'events');
