-- How often writes cascade. Counted from the log, because a counter would make writers queue: what the log still holds is
-- counted when somebody asks, and what compaction is about to forget is counted before.

CREATE UNLOGGED TABLE fraiseql_cache.cascade_sample (
  at      timestamptz NOT NULL,
  source  text,   -- NULL: all invalidations, cascading or not
  target  text,   -- NULL: transactions in which the source cascaded at all
  depth   integer,
  touches bigint NOT NULL
);

-- Transactions below were counted.
CREATE UNLOGGED TABLE fraiseql_cache.cascade_counted (
  one         boolean PRIMARY KEY DEFAULT true CHECK (one),
  incarnation uuid   NOT NULL,
  below       bigint NOT NULL
);

-- A transaction counts once for each domain that it wrote, once for what it invalidated by hand, and once for each pair of
-- source and target.
CREATE FUNCTION fraiseql_cache.count_cascades(p_from bigint, p_below bigint) RETURNS TABLE (source text, target text, depth integer, touches bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  WITH reach AS (
    SELECT r.source, r.target, r.tag, min(r.depth) AS depth FROM fraiseql_cache.cascade_reach r GROUP BY r.source, r.target, r.tag
  ), cascades AS MATERIALIZED (
    SELECT r.source, r.target, r.depth, l.xid FROM fraiseql_cache.log l JOIN reach r ON r.tag = l.tag WHERE l.xid >= p_from AND l.xid < p_below
  )
  SELECT NULL::text, NULL::text, NULL::integer, count(*) FILTER (WHERE l.relation IS NOT NULL) + count(DISTINCT l.xid) FILTER (WHERE l.relation IS NULL AND l.operation = 'x')
    FROM fraiseql_cache.log l WHERE l.xid >= p_from AND l.xid < p_below
  UNION ALL SELECT c.source, NULL::text, NULL::integer, count(DISTINCT c.xid) FROM cascades c GROUP BY c.source
  UNION ALL SELECT c.source, c.target, c.depth, count(*) FROM cascades c GROUP BY c.source, c.target, c.depth;
$$;

CREATE FUNCTION fraiseql_cache.counted_below() RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT GREATEST(i.horizon, (SELECT c.below FROM fraiseql_cache.cascade_counted c WHERE c.incarnation = i.id)) FROM fraiseql_cache.current_incarnation i;
$$;

-- Part of compaction, under its lock.
CREATE FUNCTION fraiseql_cache.sample_cascades() RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  ended bigint := pg_snapshot_xmin(pg_current_snapshot())::text::bigint;
BEGIN
  INSERT INTO fraiseql_cache.cascade_sample (at, source, target, depth, touches)
    SELECT clock_timestamp(), c.source, c.target, c.depth, c.touches FROM fraiseql_cache.count_cascades(fraiseql_cache.counted_below(), ended) c WHERE c.touches > 0;
  INSERT INTO fraiseql_cache.cascade_counted AS c (incarnation, below) SELECT i.id, ended FROM fraiseql_cache.current_incarnation i
    ON CONFLICT (one) DO UPDATE SET incarnation = EXCLUDED.incarnation, below = EXCLUDED.below;
  DELETE FROM fraiseql_cache.cascade_sample s WHERE s.at < clock_timestamp() - interval '24 hours';
END $$;

-- Mean milliseconds of the whole trigger functions of sources, where the server measures them (track_functions = 'pl'),
-- since it was last reset; NULL elsewhere.
CREATE FUNCTION fraiseql_cache.cascade_time() RETURNS double precision
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT sum(pg_stat_get_function_total_time(f.id)) / NULLIF(sum(pg_stat_get_function_calls(f.id)), 0)
    FROM fraiseql_cache.watched w CROSS JOIN unnest(ARRAY['insert', 'update', 'delete', 'truncate']) AS o (operation)
   CROSS JOIN LATERAL (SELECT to_regprocedure(format('fraiseql_cache.touch_%s_%s()', w.id, o.operation)) AS id) f
   WHERE w.domain IN (SELECT r.source FROM fraiseql_cache.cascade_reach r);
$$;

-- Of the last 24 hours.
CREATE FUNCTION fraiseql_cache.cascade_stats() RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  WITH counts AS (
    SELECT s.source, s.target, s.depth, s.touches FROM fraiseql_cache.cascade_sample s WHERE s.at >= clock_timestamp() - interval '24 hours'
    UNION ALL SELECT c.* FROM fraiseql_cache.count_cascades(fraiseql_cache.counted_below(), 9223372036854775807) c
  ), pairs AS (
    SELECT c.source, c.target, sum(c.touches) AS touches FROM counts c WHERE c.target IS NOT NULL GROUP BY c.source, c.target
  )
  SELECT jsonb_build_object(
    'totalInvalidations24h', (SELECT COALESCE(sum(c.touches), 0) FROM counts c WHERE c.source IS NULL),
    'cascadeTriggered', (SELECT COALESCE(sum(c.touches), 0) FROM counts c WHERE c.source IS NOT NULL AND c.target IS NULL),
    'avgCascadeDepth', (SELECT COALESCE(round(sum(c.depth * c.touches) / NULLIF(sum(c.touches), 0), 2), 0) FROM counts c WHERE c.target IS NOT NULL),
    'triggerTimeMs', fraiseql_cache.cascade_time(),
    'mostFrequentCascades', (SELECT COALESCE(jsonb_agg(jsonb_build_object('pattern', p.source || ' -> ' || p.target, 'count', p.touches) ORDER BY p.touches DESC, p.source, p.target), '[]')
                               FROM (SELECT * FROM pairs ORDER BY pairs.touches DESC, pairs.source, pairs.target LIMIT 10) p));
$$;
