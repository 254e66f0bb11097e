-- One statement per event-loop turn: what was touched since the last fence, and the rows asked for, in one snapshot.
SELECT NULL, fraiseql_cache.header($1::bigint, $2::bigint, $3::bigint[], $4::integer), NULL, NULL
UNION ALL
SELECT c.cache_key, c.proof, c.value_types, c.cache_value::text
  FROM :table c
 WHERE c.cache_key = ANY ($5::text[]) AND c.expires_at > now()
