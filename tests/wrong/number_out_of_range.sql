CREATE SOURCE fleet (id BIGINT)
WITH (connector = 'simulator', rate = '-1', disorder = 1.5, keys = 0, count = 'many', seed = 99999999999999999999);
