SELECT (SELECT count(*) FROM :table), (SELECT count(*) FROM :table WHERE COALESCE(stale_until, expires_at) <= now()),
       (SELECT COALESCE(sum(entry_bytes), 0) FROM :table),
       COALESCE((SELECT sum(pg_total_relation_size(t.relid)) FROM pg_partition_tree(:literal::regclass) t), 0)
         + CASE WHEN EXISTS (SELECT FROM pg_partition_tree(:literal::regclass)) THEN 0 ELSE pg_total_relation_size(:literal::regclass) END,
       pg_total_relation_size('fraiseql_cache.log'), fraiseql_cache.cascade_time()
