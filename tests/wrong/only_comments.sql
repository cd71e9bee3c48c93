-- CREATE SOURCE events (id BIGINT)
/* nothing yet */
