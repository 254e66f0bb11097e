-- The exchange for rows older than what the process remembers: a row comes only if the log proves it. A statement of
-- its own, because merely containing the probes would slow every exchange down. Last, whether something that a row depends on
-- was touched: such a row comes only if it is kept for readers who take old values too, and if nothing of it was deleted.
SELECT NULL, fraiseql_cache.header($1::pg_snapshot, :most), NULL, NULL::json, NULL::boolean
UNION ALL
SELECT c.cache_key, c.proof, c.value_types, c.cache_value, NOT u.untouched
  FROM :table c
  CROSS JOIN LATERAL (SELECT fraiseql_cache.untouched(c.tags || ARRAY['!' || c.cache_key, '~'], c.lo, c.hi, c.open) OFFSET 0) AS u (untouched)
 WHERE c.cache_key = ANY ((SELECT $2::text[])::text[]) AND COALESCE(c.stale_until, c.expires_at) > now()
   AND (u.untouched OR (c.stale_until IS NOT NULL AND fraiseql_cache.untouched(
         ARRAY(SELECT t.tag FROM unnest(c.tags) AS t (tag) WHERE starts_with(t.tag, '!')) || ARRAY['!' || c.cache_key, '~'], c.lo, c.hi, c.open)))
