-- Fill leases: which process computes a missing value while the others wait for it. Only ever a saving: what is stored is
-- judged by its fence, whoever stored it. UNLOGGED, so that a claim waits for no disk, and a crash ends every lease.
CREATE UNLOGGED TABLE fraiseql_cache.fill_lease (
  cache_id    integer     NOT NULL,
  cache_key   text COLLATE "C" NOT NULL,
  -- The fencing number: the transaction that claimed it. Only the holder of this very number can release the lease.
  number      bigint      NOT NULL,
  expires_at  timestamptz NOT NULL,
  -- The fence that the holder had, and what its value was known to depend on then.
  lo          bigint      NOT NULL,
  hi          bigint      NOT NULL,
  open        bigint[]    NOT NULL,
  incarnation uuid        NOT NULL,
  tags        text[]      NOT NULL,
  PRIMARY KEY (cache_key, cache_id)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);

-- Whether waiting for the holder makes sense: not when it must have ended, and not when its value would be void already
-- by a write, by a deletion of the key, or by the end of the incarnation.
CREATE FUNCTION fraiseql_cache.lease_stands(l fraiseql_cache.fill_lease) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN l.expires_at > clock_timestamp()
     AND EXISTS (SELECT FROM fraiseql_cache.current_incarnation i WHERE i.id = l.incarnation AND l.lo >= i.horizon)
     AND fraiseql_cache.untouched(l.tags || ARRAY['!' || l.cache_key, '~'], l.lo, l.hi, l.open);
END $$;

-- Claim the leases of some keys, in the order of the keys, because two batches that share keys would otherwise deadlock.
-- For each key: whether it was granted, the number of the holder (of the caller, if granted), and how many milliseconds
-- the lease has left.
CREATE FUNCTION fraiseql_cache.claim_leases(p_cache integer, p_keys text[], p_tags text[], p_specs text[], p_lo bigint[], p_hi bigint[],
  p_open text[], p_incarnation uuid[], p_ttl_ms bigint[])
RETURNS TABLE (key text, granted boolean, number bigint, left_ms bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
  this bigint;
  claim record;
  holder fraiseql_cache.fill_lease;
BEGIN
  FOR claim IN
    SELECT u.key, u.tags::text[] || COALESCE(fraiseql_cache.dependency_tags(u.spec::jsonb), '{}') AS tags,
           u.lo, u.hi, u.open::bigint[] AS open, u.incarnation, u.ttl_ms * interval '1 ms' AS ttl
      FROM unnest(p_keys, p_tags, p_specs, p_lo, p_hi, p_open, p_incarnation, p_ttl_ms)
             AS u (key, tags, spec, lo, hi, open, incarnation, ttl_ms)
     ORDER BY u.key COLLATE "C"
  LOOP
    -- Twice, where somebody else was faster. Looked at before it is written: who waits asks again and again.
    FOR attempt IN 1 .. 2 LOOP
      SELECT l.* INTO holder FROM fraiseql_cache.fill_lease l
       WHERE l.cache_id = p_cache AND l.cache_key = claim.key AND fraiseql_cache.lease_stands(l);
      EXIT WHEN FOUND OR attempt = 2;
      -- Asked for only now: who does not get the lease takes no transaction id.
      this := pg_current_xact_id()::text::bigint;
      INSERT INTO fraiseql_cache.fill_lease AS l (cache_id, cache_key, number, expires_at, lo, hi, open, incarnation, tags)
        VALUES (p_cache, claim.key, this, clock_timestamp() + claim.ttl, claim.lo, claim.hi, claim.open, claim.incarnation, claim.tags)
        ON CONFLICT (cache_key, cache_id) DO UPDATE SET number = EXCLUDED.number, expires_at = EXCLUDED.expires_at, lo = EXCLUDED.lo,
          hi = EXCLUDED.hi, open = EXCLUDED.open, incarnation = EXCLUDED.incarnation, tags = EXCLUDED.tags
          -- A claim that was overtaken while it waited for the row stays behind: numbers only ever rise.
          WHERE l.number < EXCLUDED.number AND NOT fraiseql_cache.lease_stands(l)
        RETURNING l.* INTO holder;
      EXIT WHEN FOUND;
    END LOOP;
    key := claim.key;
    -- None, where it was released just now: not granted, and no reason to wait.
    number := COALESCE(holder.number, 0);
    granted := holder.number IS NOT NULL AND holder.number = this;
    left_ms := COALESCE(GREATEST(0, ceil(extract(epoch FROM holder.expires_at - clock_timestamp()) * 1000)), 0);
    RETURN NEXT;
  END LOOP;
END $$;
COMMENT ON FUNCTION fraiseql_cache.claim_leases(integer, text[], text[], text[], bigint[], bigint[], text[], uuid[], bigint[]) IS
  'Claims the right to compute missing values of a cache; a lease ends with its release, its time, a touch of its tags, or a crash.';

-- Release leases, each only if its holder still is the one of this number, in this incarnation: after a crash the server may
-- give out the same numbers again.
CREATE FUNCTION fraiseql_cache.release_leases(p_cache integer, p_keys text[], p_numbers bigint[], p_incarnations uuid[]) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $$
DECLARE
  released bigint;
BEGIN
  WITH mine AS MATERIALIZED (
    SELECT l.cache_key FROM unnest(p_keys, p_numbers, p_incarnations) AS u (key, number, incarnation)
      JOIN fraiseql_cache.fill_lease l ON l.cache_key = u.key AND l.cache_id = p_cache AND l.number = u.number AND l.incarnation = u.incarnation
     ORDER BY l.cache_key FOR UPDATE OF l
  ), gone AS (
    DELETE FROM fraiseql_cache.fill_lease l USING mine m WHERE l.cache_key = m.cache_key AND l.cache_id = p_cache RETURNING 1
  )
  SELECT count(*) INTO released FROM gone;
  RETURN released;
END $$;

-- What crashed holders left behind for keys that nobody asked for again.
CREATE FUNCTION fraiseql_cache.clear_leases() RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  WITH dead AS MATERIALIZED (
    SELECT l.cache_key, l.cache_id FROM fraiseql_cache.fill_lease l WHERE l.expires_at <= clock_timestamp() FOR UPDATE SKIP LOCKED
  ), gone AS (
    DELETE FROM fraiseql_cache.fill_lease l USING dead d WHERE l.cache_key = d.cache_key AND l.cache_id = d.cache_id RETURNING 1
  )
  SELECT count(*) FROM gone;
$$;
