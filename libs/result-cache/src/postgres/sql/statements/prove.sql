-- The exchange for rows older than what the process remembers: a row comes only if the log proves it. A statement of
-- its own, because merely containing the probes would slow every exchange down.
SELECT NULL, fraiseql_cache.header($1::pg_snapshot, :most), NULL, NULL::json
UNION ALL
SELECT c.cache_key, c.proof, c.value_types, c.cache_value
  FROM :table c
 WHERE c.cache_key = ANY ((SELECT $2::text[])::text[]) AND c.expires_at > now()
   AND fraiseql_cache.untouched(c.tags || ARRAY['!' || c.cache_key, '~'], c.lo, c.hi, c.open)
