-- Compaction: what keeps the log small. Rows are only ever deleted from it: a truncated table looks empty to a
-- snapshot taken before.

-- For transactions that every snapshot can see, the newest row of a tag stands for all older ones. A fence that lists
-- a deleted transaction as open must still see that something happened: hence the settled mark on the row kept.
CREATE FUNCTION fraiseql_cache.compact_log() RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  WITH bound AS (
    SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS xmin
  ), newest AS MATERIALIZED (
    SELECT l.tag, max(l.xid) AS xid FROM fraiseql_cache.log l, bound b WHERE l.xid < b.xmin GROUP BY l.tag HAVING count(*) > 1
  ), mark AS (
    UPDATE fraiseql_cache.log l SET settled = true FROM newest n WHERE l.tag = n.tag AND l.xid = n.xid AND NOT l.settled
  ), gone AS (
    DELETE FROM fraiseql_cache.log l USING newest n WHERE l.tag = n.tag AND l.xid < n.xid RETURNING 1
  )
  SELECT count(*) FROM gone;
$$;

-- Entries live for max_ttl at most, so what was known one such life ago is needed by none. The horizon moves up to a
-- sample of that age and everything below it is forgotten. p_now exists for tests: the database's clock decides.
CREATE FUNCTION fraiseql_cache.advance_horizon(p_now timestamptz DEFAULT clock_timestamp()) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  life interval := (SELECT make_interval(secs => max(c.max_ttl)) FROM fraiseql_cache.caches c);
  reached bigint;
  gone bigint := 0;
BEGIN
  -- What the log forgets below, domain_version must not.
  INSERT INTO fraiseql_cache.tenant (tenant_id) SELECT t.tenant_id FROM fraiseql_cache.tenants() t ON CONFLICT DO NOTHING;
  INSERT INTO fraiseql_cache.horizon_sample (at, oldest)
    VALUES (p_now, pg_snapshot_xmin(pg_current_snapshot())::text::bigint) ON CONFLICT DO NOTHING;
  SELECT max(s.oldest) INTO reached FROM fraiseql_cache.horizon_sample s WHERE s.at < p_now - life;
  IF reached > (SELECT i.horizon FROM fraiseql_cache.incarnation i) THEN
    UPDATE fraiseql_cache.incarnation SET horizon = reached, born = pg_current_xact_id()::xid WHERE incarnation.xmin = incarnation.born;
    IF FOUND THEN
      DELETE FROM fraiseql_cache.log l WHERE l.xid < reached;
      GET DIAGNOSTICS gone = ROW_COUNT;
    END IF;
    DELETE FROM fraiseql_cache.horizon_sample s WHERE s.oldest < reached;
  END IF;
  RETURN gone;
END $$;

-- Both, by one process at a time; NULL where another is at it.
CREATE FUNCTION fraiseql_cache.compact() RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF NOT pg_try_advisory_xact_lock(hashtext('fraiseql_cache.compact')) THEN
    RETURN NULL;
  END IF;
  PERFORM fraiseql_cache.sample_cascades();
  RETURN fraiseql_cache.compact_log() + fraiseql_cache.advance_horizon();
END $$;
