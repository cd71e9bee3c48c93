CREATE SOURCE a (id BIGINT) WITH (connector = 'kafka', topic = 'a', max_record_bytes = '1 megabyte');
CREATE SOURCE b (id BIGINT) WITH (connector = 'kafka', topic = 'b', max_record_bytes = '-1');
CREATE SOURCE c (id BIGINT) WITH (connector = 'kafka', topic = 'c', max_record_bytes = '99999999999 GiB');
