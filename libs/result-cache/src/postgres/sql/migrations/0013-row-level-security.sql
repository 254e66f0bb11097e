-- A second lock, for whoever reads a cache's table by SQL of his own: rows of the tenant only that the transaction has set.

-- Lock the table of a cache. Policies do not hold the table's owner, so the application must connect as another role; the
-- functions of the cache are the owner's, and see every row. Exchanges ask for many tenants' keys at once: they read
-- through one of these functions, by keys that they must know. Safe to call again, with another setting too.
CREATE FUNCTION fraiseql_cache.lock_cache(p_schema text, p_table text, p_setting text DEFAULT 'app.current_tenant_id') RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  qualified text := format('%I.%I', p_schema, p_table);
  cache_id integer;
  part regclass;
  columns text; -- as a function returns them: not as the table's row type, which would keep the table from being dropped
BEGIN
  PERFORM pg_advisory_xact_lock(hashtext('fraiseql_cache.caches'));
  SELECT c.id INTO cache_id FROM fraiseql_cache.caches c WHERE c.relation = qualified;
  IF cache_id IS NULL THEN
    RAISE EXCEPTION '% is no cache', qualified USING ERRCODE = 'undefined_table', HINT = 'SELECT fraiseql_cache.create_cache(…) makes one.';
  END IF;
  FOR part IN SELECT qualified::regclass UNION SELECT t.relid FROM pg_partition_tree(qualified::regclass) t LOOP
    EXECUTE format('DROP POLICY IF EXISTS own_tenant ON %s', part);
    -- A setting that a transaction had set is empty after it, and no tenant's name is.
    EXECUTE format('CREATE POLICY own_tenant ON %s FOR SELECT USING (tenant_id = NULLIF(current_setting(%L, true), ''''))', part, p_setting);
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', part);
  END LOOP;

  SELECT string_agg(format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', ' ORDER BY a.attnum) INTO columns
    FROM pg_attribute a WHERE a.attrelid = qualified::regclass AND a.attnum > 0 AND NOT a.attisdropped;
  EXECUTE format('DROP FUNCTION IF EXISTS fraiseql_cache.rows_%1$s(text[]), fraiseql_cache.outlines_%1$s(text[])', cache_id);
  EXECUTE format(
    'CREATE FUNCTION fraiseql_cache.rows_%s(p_keys text[]) RETURNS TABLE (%s) LANGUAGE sql STABLE SECURITY DEFINER ROWS 10
     SET search_path = pg_catalog, pg_temp AS %L',
    cache_id, columns, format('SELECT c.* FROM %s c WHERE c.cache_key = ANY (p_keys)', qualified));
  -- What is counted: of all entries, or of those that one of these tags would make void.
  EXECUTE format(
    'CREATE FUNCTION fraiseql_cache.outlines_%s(p_tags text[] DEFAULT NULL) RETURNS TABLE (expires_at timestamptz, stale_until timestamptz, entry_bytes bigint)
     LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS %L',
    cache_id, format('SELECT c.expires_at, c.stale_until, c.value_bytes::bigint + pg_column_size(c.cache_key) + pg_column_size(c.tags) + pg_column_size(c.proof) FROM %s c WHERE p_tags IS NULL OR c.tags && p_tags', qualified));
  PERFORM fraiseql_cache.adopt_function(f.name || '_' || cache_id) FROM unnest(ARRAY['rows', 'outlines']) AS f (name);
END $$;
COMMENT ON FUNCTION fraiseql_cache.lock_cache(text, text, text) IS
  'Row-level security for a cache''s table: other roles than its owner see the rows of the tenant in the setting, and no others.';
