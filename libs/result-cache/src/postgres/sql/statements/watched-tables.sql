-- The watched tables and the domains they feed.
SELECT DISTINCT a.relation::regclass::text AS "table", a.domain FROM fraiseql_cache.audit() a ORDER BY 1
