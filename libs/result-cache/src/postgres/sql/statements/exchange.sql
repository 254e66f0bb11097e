-- One statement per event-loop turn: what was touched since the last fence, and the rows asked for, in one snapshot.
-- The keys stand in a sub-select so that the planner cannot count them: it would plan for each number of keys anew, which
-- takes longer than to run the plan.
SELECT NULL, fraiseql_cache.header($1::bigint, $2::bigint, $3::bigint[], $4::integer), NULL, NULL
UNION ALL
SELECT c.cache_key, c.proof, c.value_types, c.cache_value::text
  FROM :table c
 WHERE c.cache_key = ANY ((SELECT $5::text[])::text[]) AND c.expires_at > now()
