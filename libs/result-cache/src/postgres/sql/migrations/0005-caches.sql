-- Caches: one UNLOGGED table of entries each, and the functions that write it.

CREATE TABLE fraiseql_cache.caches (
  id         integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  relation   text    NOT NULL UNIQUE, -- quoted and qualified; not a regclass, because the table may be dropped and made anew
  max_ttl    integer NOT NULL         -- seconds; the horizon may not overtake the longest life an entry can have
);

-- How often entries were evicted from a cache. Who goes on evicting sees by it whether somebody else was at it meanwhile.
CREATE UNLOGGED TABLE fraiseql_cache.eviction (
  cache_id integer PRIMARY KEY,
  turn     bigint  NOT NULL
);

-- What a reader declares it depends on, as tags: {"domains": [...], "free": [...], "rows": [[domain, {column: value}, told], ...]}.
-- A column tag comes with that of "some rows"; rows that cannot be named by one become the whole domain. What else may
-- show in such rows by cascade rules makes them void too, except what the reader has named itself. "told" is true where
-- nothing but these rows was read, or lists the domains that this row's declaration names, where it holds several.
CREATE FUNCTION fraiseql_cache.dependency_tags(p_spec jsonb) RETURNS text[]
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  tags text[] := '{}';
  named text[] := ARRAY(SELECT jsonb_array_elements_text(p_spec -> 'domains') UNION SELECT r.pair ->> 0 FROM jsonb_array_elements(p_spec -> 'rows') AS r (pair));
  pair jsonb;
  tag text;
BEGIN
  FOR tag IN SELECT jsonb_array_elements_text(p_spec -> 'domains') LOOP
    tags := tags || fraiseql_cache.domain_tag(tag);
  END LOOP;
  FOR tag IN SELECT jsonb_array_elements_text(p_spec -> 'free') LOOP
    -- With that of "some free tags, not told which".
    tags := tags || ARRAY[fraiseql_cache.free_tag(tag), '@*'];
  END LOOP;
  FOR pair IN SELECT jsonb_array_elements(p_spec -> 'rows') LOOP
    tag := fraiseql_cache.column_tag(pair ->> 0, pair -> 1);
    tags := tags || CASE WHEN tag IS NULL THEN ARRAY[fraiseql_cache.domain_tag(pair ->> 0)]
                         ELSE ARRAY[tag, left(tag, strpos(tag, '=')) || '*'] END;
    IF tag IS NOT NULL AND pair -> 2 IS DISTINCT FROM 'true' THEN
      tags := tags || fraiseql_cache.cascade_tags(pair ->> 0, ARRAY(SELECT jsonb_object_keys(pair -> 1)),
        CASE jsonb_typeof(pair -> 2) WHEN 'array' THEN ARRAY(SELECT jsonb_array_elements_text(pair -> 2)) ELSE named END);
    END IF;
  END LOOP;
  RETURN ARRAY(SELECT DISTINCT t.tag FROM unnest(tags) AS t (tag) ORDER BY t.tag);
END $$;

-- Invalidate by hand what the same words name: as if each of these rows, or any row of these domains, had been written.
-- Returns the transaction, which the caller may still have to commit.
CREATE FUNCTION fraiseql_cache.invalidate(p_spec jsonb) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM fraiseql_cache.touch(ARRAY(
    SELECT t.tag FROM jsonb_array_elements_text(p_spec -> 'domains') AS d (name), unnest(fraiseql_cache.domain_tags(d.name)) AS t (tag)
    UNION SELECT c.tag FROM jsonb_array_elements_text(p_spec -> 'domains') AS d (name), fraiseql_cache.cascaded(d.name) c
    UNION SELECT fraiseql_cache.free_tag(f.name) FROM jsonb_array_elements_text(p_spec -> 'free') AS f (name)
    -- Of such a row one column is known; what its other columns hold is not, so they are touched as "some rows".
    UNION SELECT n.tag FROM jsonb_array_elements(p_spec -> 'rows') AS r (pair)
      CROSS JOIN LATERAL (SELECT fraiseql_cache.column_tag(r.pair ->> 0, r.pair -> 1) AS named) c
      CROSS JOIN LATERAL (SELECT c.named AS tag UNION ALL
                          SELECT t.tag FROM unnest(fraiseql_cache.domain_tags(r.pair ->> 0)) AS t (tag)
                           WHERE c.named IS NULL OR t.tag <> left(c.named, strpos(c.named, '=')) || '*') n
    UNION SELECT c.tag FROM jsonb_array_elements(p_spec -> 'rows') AS r (pair), fraiseql_cache.cascaded(r.pair ->> 0, r.pair -> 1) c));
  RETURN pg_current_xact_id()::text::bigint;
END $$;

-- The source of a cache's store function. Whatever writes or deletes several entries locks them in the order of their
-- keys, because two batches that share keys would otherwise deadlock.
CREATE FUNCTION fraiseql_cache.store_source(p_table text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT format($source$
#variable_conflict use_column
DECLARE
  -- Once for all rows: for each of them it would be the dearest part of its proof.
  stored_at CONSTANT timestamptz := clock_timestamp();
  stored_ms CONSTANT bigint := floor(extract(epoch FROM stored_at) * 1000);
BEGIN
  RETURN QUERY
  INSERT INTO %1$s AS c (cache_key, cache_value, value_types, expires_at, stale_until, tags, lo, hi, open, incarnation, proof, cached_at, tenant_id, view_name, compute_ms, value_bytes)
  SELECT DISTINCT ON (u.key COLLATE "C") u.key, u.value::json, u.types, stored_at + l.ttl_ms * interval '1 ms',
         CASE WHEN l.kept_ms > l.ttl_ms THEN stored_at + l.kept_ms * interval '1 ms' END, n.tags, u.lo, u.hi, u.open::bigint[], u.incarnation,
         json_build_array(u.lo, u.hi, u.open::bigint[], u.incarnation, stored_ms + l.ttl_ms, stored_ms, u.compute_ms, n.tags)::text,
         stored_at, u.tenant, u.view, u.compute_ms, octet_length(u.value)
    FROM unnest(p_keys, p_values, p_types, p_tags, p_specs, p_lo, p_hi, p_open, p_incarnation, p_ttl_ms, p_stale_ms, p_tenants, p_views, p_compute_ms)
           AS u (key, value, types, tags, spec, lo, hi, open, incarnation, ttl_ms, stale_ms, tenant, view, compute_ms)
    CROSS JOIN LATERAL (SELECT LEAST(u.ttl_ms, p_max_ttl * 1000::bigint) AS ttl_ms, LEAST(u.ttl_ms + u.stale_ms, p_max_ttl * 1000::bigint) AS kept_ms) l
    CROSS JOIN LATERAL (SELECT CASE WHEN u.spec IS NULL THEN u.tags::text[] ELSE u.tags::text[] || fraiseql_cache.dependency_tags(u.spec::jsonb) END AS tags
                          -- Not merged into the list above, where it stands twice and would be computed twice.
                          OFFSET 0) n
    -- A fence of another incarnation, or from below the horizon, proves nothing any more.
    JOIN fraiseql_cache.current_incarnation i ON i.id = u.incarnation AND u.lo >= i.horizon
   ORDER BY u.key COLLATE "C", u.hi DESC
  ON CONFLICT ON CONSTRAINT %2$I DO UPDATE SET cache_value = EXCLUDED.cache_value, value_types = EXCLUDED.value_types, expires_at = EXCLUDED.expires_at,
    stale_until = EXCLUDED.stale_until, tags = EXCLUDED.tags, lo = EXCLUDED.lo, hi = EXCLUDED.hi, open = EXCLUDED.open, incarnation = EXCLUDED.incarnation, proof = EXCLUDED.proof,
    cached_at = EXCLUDED.cached_at, tenant_id = EXCLUDED.tenant_id, view_name = EXCLUDED.view_name, compute_ms = EXCLUDED.compute_ms, value_bytes = EXCLUDED.value_bytes
    -- A slow computation must not replace what was computed from newer data.
    WHERE c.incarnation <> EXCLUDED.incarnation OR c.hi <= EXCLUDED.hi OR COALESCE(c.stale_until, c.expires_at) <= now()
  RETURNING c.cache_key, c.proof;
END$source$, p_table, (SELECT conname FROM pg_constraint WHERE conrelid = p_table::regclass AND contype = 'p'));
$$;

-- Create the table of a cache where it is missing, and its functions; returns the cache's id. Safe from any number of
-- processes at once, and again after somebody dropped the table.
CREATE FUNCTION fraiseql_cache.create_cache(p_schema text, p_table text, p_max_ttl integer, p_partitions integer DEFAULT 0) RETURNS integer
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  qualified text := format('%I.%I', p_schema, p_table);
  cache fraiseql_cache.caches;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtext('fraiseql_cache.caches'));
  SELECT * INTO cache FROM fraiseql_cache.caches c WHERE c.relation = qualified;

  IF to_regclass(qualified) IS NULL THEN
    EXECUTE format(
      'CREATE %s TABLE %s (
         cache_key   text COLLATE "C" PRIMARY KEY,
         cache_value json        NOT NULL,
         value_types text,
         expires_at  timestamptz NOT NULL,
         stale_until timestamptz,
         tags        text[]      NOT NULL,
         lo          bigint      NOT NULL,
         hi          bigint      NOT NULL,
         open        bigint[]    NOT NULL,
         incarnation uuid        NOT NULL,
         proof       text        NOT NULL,
         cached_at   timestamptz NOT NULL,
         tenant_id   text,
         view_name   text,
         compute_ms  real,
         value_bytes integer     NOT NULL
       ) %s',
      CASE WHEN p_partitions > 0 THEN '' ELSE 'UNLOGGED' END, qualified,
      CASE WHEN p_partitions > 0 THEN 'PARTITION BY HASH (cache_key)' END);
    EXECUTE format('COMMENT ON COLUMN %s.proof IS %L', qualified,
      'fence, incarnation, expiry and tags as one text: what a reader needs beside the value, in one column on the wire');
    EXECUTE format('COMMENT ON COLUMN %s.stale_until IS %L', qualified,
      'until when the row is kept after expires_at, for readers who would rather have an old value than none; NULL: not at all');
    -- A partitioned table has no storage of its own: each partition must be UNLOGGED by itself.
    FOR part IN 0 .. p_partitions - 1 LOOP
      EXECUTE format('CREATE UNLOGGED TABLE %I.%I PARTITION OF %s FOR VALUES WITH (MODULUS %s, REMAINDER %s)',
        p_schema, p_table || '_' || part, qualified, p_partitions, part);
    END LOOP;
    EXECUTE format('CREATE INDEX %I ON %s (COALESCE(stale_until, expires_at))', p_table || '_expires_idx', qualified);
    DELETE FROM fraiseql_cache.caches c WHERE c.id = cache.id;
    cache := NULL;
  ELSIF cache.id IS NULL AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = to_regclass(qualified) AND a.attname = 'proof') THEN
    RAISE EXCEPTION 'table % exists already and is not a cache; choose another tableName or drop it', qualified USING ERRCODE = 'duplicate_table';
  END IF;

  IF cache.id IS NOT NULL THEN
    -- Only ever longer: entries of the longer life may exist already.
    UPDATE fraiseql_cache.caches c SET max_ttl = p_max_ttl WHERE c.id = cache.id AND c.max_ttl < p_max_ttl;
    RETURN cache.id;
  END IF;

  INSERT INTO fraiseql_cache.caches (relation, max_ttl) VALUES (qualified, p_max_ttl) RETURNING * INTO cache;
  EXECUTE format(
    'CREATE FUNCTION fraiseql_cache.store_%s(p_keys text[], p_values text[], p_types text[], p_tags text[], p_specs text[], p_lo bigint[], p_hi bigint[],
       p_open text[], p_incarnation uuid[], p_ttl_ms bigint[], p_stale_ms bigint[], p_tenants text[], p_views text[], p_compute_ms real[], p_max_ttl integer)
     RETURNS TABLE (key text, proof text) LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS %L',
    cache.id, fraiseql_cache.store_source(qualified));
  -- A row that one process proved is given the proving snapshot as its fence, so that the next one need not ask. Only the
  -- very row that was proved: its proof text names fence, incarnation, expiry and the moment it was stored. Rows that
  -- somebody else is at are left alone, so that this never waits.
  EXECUTE format(
    'CREATE FUNCTION fraiseql_cache.refence_%s(p_keys text[], p_proofs text[], p_lo bigint, p_hi bigint, p_open bigint[]) RETURNS void
     LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS %L',
    cache.id, format(
      'WITH proven AS MATERIALIZED (
         SELECT c.cache_key FROM unnest(p_keys, p_proofs) AS n (key, proof) JOIN %1$s c ON c.cache_key = n.key AND c.proof = n.proof FOR NO KEY UPDATE OF c SKIP LOCKED)
       UPDATE %1$s c SET lo = p_lo, hi = p_hi, open = p_open,
              proof = json_build_array(p_lo, p_hi, p_open, c.incarnation, c.proof::json -> 4, c.proof::json -> 5, c.compute_ms, c.tags)::text
         FROM proven p WHERE c.cache_key = p.cache_key', qualified));
  -- Expired entries that are not kept any longer; at most so many, so that a purge never holds many row locks.
  EXECUTE format(
    'CREATE FUNCTION fraiseql_cache.purge_%s(p_most integer) RETURNS bigint LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS %L',
    cache.id, format(
      'WITH dead AS MATERIALIZED (SELECT c.cache_key FROM %1$s c WHERE COALESCE(c.stale_until, c.expires_at) <= now() ORDER BY COALESCE(c.stale_until, c.expires_at) LIMIT p_most FOR UPDATE SKIP LOCKED),
            gone AS (DELETE FROM %1$s c USING dead d WHERE c.cache_key = d.cache_key RETURNING 1)
       SELECT count(*) FROM gone', qualified));
  -- Bring a table back within its limits (NULL: none): delete those entries first that would be purged first, a batch at a
  -- time, as a purge does, and without waiting for who is at a row. What is too much is counted by the first of the caller's
  -- batches, and again where another process has evicted since the last one (p_turn); otherwise the caller hands on what is left. (The table's size
  -- on disk would not do for a limit: deleting frees room for others and gives nothing back to the disk.)
  -- Returns the turn, how many were deleted, and how many entries and bytes are still too many.
  EXECUTE format(
    'CREATE FUNCTION fraiseql_cache.evict_%s(p_max_entries bigint, p_max_bytes bigint, p_most integer, p_turn bigint, p_entries bigint, p_bytes bigint)
     RETURNS json LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS %L',
    cache.id, format($source$
DECLARE
  this bigint;
  gone record;
BEGIN
  INSERT INTO fraiseql_cache.eviction AS e (cache_id, turn) VALUES (%2$s, 1)
    ON CONFLICT (cache_id) DO UPDATE SET turn = e.turn + 1 RETURNING e.turn INTO this;
  IF this IS DISTINCT FROM p_turn + 1 THEN
    SELECT COALESCE(count(*) - p_max_entries, 0),
           COALESCE(sum(c.value_bytes::bigint + pg_column_size(c.cache_key) + pg_column_size(c.tags) + pg_column_size(c.proof)) - p_max_bytes, 0)
      INTO p_entries, p_bytes FROM %1$s c;
  END IF;
  WITH next AS MATERIALIZED (
    SELECT c.cache_key, COALESCE(c.stale_until, c.expires_at) AS ends_at,
           c.value_bytes::bigint + pg_column_size(c.cache_key) + pg_column_size(c.tags) + pg_column_size(c.proof) AS bytes
      FROM %1$s c WHERE p_entries > 0 OR p_bytes > 0
     ORDER BY COALESCE(c.stale_until, c.expires_at) LIMIT p_most FOR UPDATE SKIP LOCKED
  ), summed AS (
    SELECT n.cache_key, n.bytes, row_number() OVER o AS upto, sum(n.bytes) OVER o - n.bytes AS before
      FROM next n WINDOW o AS (ORDER BY n.ends_at, n.cache_key ROWS UNBOUNDED PRECEDING)
  ), deleted AS (
    DELETE FROM %1$s c USING summed s WHERE c.cache_key = s.cache_key AND (s.upto <= p_entries OR s.before < p_bytes) RETURNING s.bytes
  )
  SELECT count(*) AS entries, COALESCE(sum(d.bytes), 0) AS bytes INTO gone FROM deleted d;
  RETURN json_build_array(this, gone.entries, p_entries - gone.entries, p_bytes - gone.bytes);
END $source$, qualified, cache.id));
  -- Deleting a row is not enough: other processes hold copies, and a computation under way would bring it back.
  EXECUTE format(
    'CREATE FUNCTION fraiseql_cache.delete_%s(p_keys text[]) RETURNS bigint LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS %L',
    cache.id, format(
      'SELECT fraiseql_cache.touch(ARRAY(SELECT ''!'' || k.key FROM unnest(p_keys) AS k (key)));
       WITH doomed AS MATERIALIZED (SELECT c.cache_key FROM %1$s c WHERE c.cache_key = ANY (p_keys) ORDER BY c.cache_key FOR UPDATE),
            gone AS (DELETE FROM %1$s c USING doomed d WHERE c.cache_key = d.cache_key RETURNING c.expires_at)
       SELECT count(*) FROM gone WHERE gone.expires_at > now()', qualified));
  EXECUTE format(
    'CREATE FUNCTION fraiseql_cache.delete_like_%s(p_from text, p_like text) RETURNS bigint LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS %L',
    cache.id, format(
      'SELECT fraiseql_cache.touch(ARRAY[''~'', ''~'' || p_like]);
       WITH doomed AS MATERIALIZED (SELECT c.cache_key FROM %1$s c WHERE starts_with(c.cache_key, p_from) AND c.cache_key >= p_from AND c.cache_key LIKE p_like
                                     ORDER BY c.cache_key FOR UPDATE),
            gone AS (DELETE FROM %1$s c USING doomed d WHERE c.cache_key = d.cache_key RETURNING c.expires_at)
       SELECT count(*) FROM gone WHERE gone.expires_at > now()', qualified));
  PERFORM fraiseql_cache.adopt_function(f.name || '_' || cache.id) FROM unnest(ARRAY['store', 'refence', 'purge', 'evict', 'delete', 'delete_like']) AS f (name);
  RETURN cache.id;
END $$;
