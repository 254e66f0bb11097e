-- The watched tables and the domains they feed. Partitions and inheritance children are part of their root.
WITH watched AS MATERIALIZED (
  SELECT DISTINCT a.relation::oid AS relation, a.domain FROM fraiseql_cache.audit() a
)
SELECT w.relation::regclass::text AS "table", w.domain
  FROM watched w
 WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_inherits h JOIN watched p ON p.relation = h.inhparent AND p.domain = w.domain
                    WHERE h.inhrelid = w.relation)
 ORDER BY 1
