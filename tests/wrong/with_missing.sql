CREATE SOURCE events (id BIGINT, device TEXT);
