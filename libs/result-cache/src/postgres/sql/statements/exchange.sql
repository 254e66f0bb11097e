-- One statement per event-loop turn: what was touched since the last fence, and the rows asked for, in one snapshot.
-- The keys stand in a sub-select so that the planner cannot count them: it would plan for each number of keys anew, which
-- takes longer than to run the plan. A snapshot that equals the last one sees what that saw: there is nothing to look for in
-- the log. (The value is not cast to text: that would copy it twice more than sending it does.)
SELECT NULL, CASE WHEN pg_current_snapshot()::text = $1::text
         THEN (SELECT concat_ws(' ', pg_current_snapshot(), i.id, i.horizon, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint)
                 FROM fraiseql_cache.current_incarnation i)
         ELSE fraiseql_cache.header($1::text::pg_snapshot, :most) END, NULL, NULL::json
UNION ALL
SELECT c.cache_key, c.proof, c.value_types, c.cache_value
  FROM :table c
 WHERE c.cache_key = ANY ((SELECT $2::text[])::text[]) AND COALESCE(c.stale_until, c.expires_at) > now()
