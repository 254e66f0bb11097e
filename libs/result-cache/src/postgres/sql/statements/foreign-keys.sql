-- Foreign keys, one row each, with the domains of the tables on both sides (NULL where one is not watched).
-- "between": rows of the table do nothing but connect others, as its primary key is made of its foreign keys.
WITH keys AS (
  SELECT c.oid, c.conname, c.conrelid, c.confrelid, c.conkey, c.confkey,
         count(*) OVER (PARTITION BY c.conrelid) AS siblings
    FROM pg_catalog.pg_constraint c
   -- Of a partitioned table the one that was declared, not its copies.
   WHERE c.contype = 'f' AND c.conparentid = 0 AND c.connamespace IS DISTINCT FROM to_regnamespace('fraiseql_cache')
), watched AS (
  SELECT DISTINCT a.relation::oid AS relation, a.domain FROM fraiseql_cache.audit() a
)
SELECT k.conname::text AS name, k.conrelid::regclass::text AS target_table, k.confrelid::regclass::text AS source_table,
       t.domain AS target_domain, s.domain AS source_domain,
       ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY AS n (num, place)
               JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = n.num ORDER BY n.place) AS target_columns,
       ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY AS n (num, place)
               JOIN pg_catalog.pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = n.num ORDER BY n.place) AS source_columns,
       k.siblings > 1 AND EXISTS (
         SELECT FROM pg_catalog.pg_constraint p
          WHERE p.conrelid = k.conrelid AND p.contype = 'p'
            AND p.conkey <@ ARRAY(SELECT unnest(o.conkey) FROM keys o WHERE o.conrelid = k.conrelid)) AS "between"
  FROM keys k
  LEFT JOIN watched t ON t.relation = k.conrelid
  LEFT JOIN watched s ON s.relation = k.confrelid
 ORDER BY 2, 1
