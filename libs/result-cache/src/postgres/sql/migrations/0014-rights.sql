-- Who may call what. PostgreSQL lets everybody execute a new function, and with the rights of the owner most of these run.
-- A migration that comes after this one revokes what it adds.

-- The functions that an application calls which uses caches, and does no more. All others are called by these, as the owner,
-- or by who installs.
CREATE FUNCTION fraiseql_cache.functions_for_use() RETURNS SETOF regprocedure
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT p.oid::regprocedure FROM pg_proc p
   WHERE p.pronamespace = 'fraiseql_cache'::regnamespace
     AND (p.proname ~ '^(store|refence|purge|evict|delete|delete_like|rows|outlines)_\d+$' OR p.proname = ANY ('{
       functions_for_use, ensure_incarnation, header, untouched, dependency_tags, touch, invalidate, compact,
       audit, check_domains, is_watched, watched_tables, domain_of,
       cascade_list, cascade_catalogue, cascade_stats, cascade_time, cascaded,
       register_cascades, remove_cascades, missing_cascades, surplus_cascades,
       schema_fingerprint, reads_of, narrowable, opened_relations,
       claim_leases, release_leases, clear_leases}'))
   ORDER BY p.oid;
$$;

-- Let a role use the caches there are. Its rights on their tables are another matter: see the statements that
-- "npx result-cache sql --role" prints.
CREATE FUNCTION fraiseql_cache.allow_use(p_role text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  used regprocedure;
BEGIN
  FOR used IN SELECT * FROM fraiseql_cache.functions_for_use() LOOP
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I', used, p_role);
  END LOOP;
END $$;
COMMENT ON FUNCTION fraiseql_cache.allow_use(text) IS 'Lets a role call what using the caches takes; again after another cache was made.';

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA fraiseql_cache FROM PUBLIC;
-- By it a role that was allowed nothing finds out what it lacks. It tells names of functions.
GRANT EXECUTE ON FUNCTION fraiseql_cache.functions_for_use() TO PUBLIC;
