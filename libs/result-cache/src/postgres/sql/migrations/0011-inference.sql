-- What a statement reads, from PostgreSQL's own parse trees. Not from plans: a plan leaves out what it can prove empty today.

-- Changes with every change of a definition: tables, views, functions, policies, partitions, schemas, watched tables.
-- Catalogue rows are hashed with the transaction that wrote them. The indices on oid leave out the system's.
CREATE FUNCTION fraiseql_cache.schema_fingerprint() RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT concat_ws('/',
    (SELECT sum(hashint8extended(c.xmin::text::bigint, c.oid::bigint)) FROM pg_class c WHERE c.oid >= 16384 AND c.relkind IN ('r', 'v', 'm', 'p', 'f', 'S') AND c.relpersistence <> 't'),
    (SELECT sum(hashint8extended(r.xmin::text::bigint, r.oid::bigint)) FROM pg_rewrite r WHERE r.oid >= 16384),
    (SELECT sum(hashint8extended(p.xmin::text::bigint, p.oid::bigint)) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
      WHERE p.oid >= 16384 AND n.nspname NOT LIKE 'pg\_temp\_%'),
    (SELECT sum(hashint8extended(o.xmin::text::bigint, o.oid::bigint)) FROM pg_operator o WHERE o.oid >= 16384),
    (SELECT sum(hashint8extended(t.xmin::text::bigint, t.oid::bigint)) FROM pg_cast t WHERE t.oid >= 16384),
    (SELECT sum(hashint8extended(p.xmin::text::bigint, p.oid::bigint)) FROM pg_policy p),
    (SELECT sum(hashint8extended(i.xmin::text::bigint, i.inhrelid::bigint)) FROM pg_inherits i),
    (SELECT sum(hashint8extended(n.xmin::text::bigint, n.oid::bigint)) FROM pg_namespace n WHERE n.oid >= 16384 AND n.nspname NOT LIKE 'pg\_%'),
    (SELECT sum(hashint8extended(d.xmin::text::bigint, d.objoid::bigint)) FROM pg_description d WHERE d.classoid = 'pg_proc'::regclass AND d.objoid >= 16384),
    (SELECT sum(hashint8extended(w.xmin::text::bigint, w.id::bigint)) FROM fraiseql_cache.watched w));
$$;
COMMENT ON FUNCTION fraiseql_cache.schema_fingerprint() IS 'Another text after every change of a definition that could change what a statement reads.';

-- The domains that a function's comment declares, as "@cache-domains user, post"; NULL where it declares nothing.
CREATE FUNCTION fraiseql_cache.declared_domains(p_function oid) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT ARRAY(SELECT d.name FROM regexp_split_to_table(m.found[1], '[,\s]+') AS d (name) WHERE d.name <> '')
    FROM regexp_match(obj_description(p_function, 'pg_proc'), '@cache-domains([^\n]*)') AS m (found) WHERE m.found IS NOT NULL;
$$;

-- The objects that the parse trees of a function with a parsed body lead to, with what decides about them. Views, policies
-- and further parsed functions are followed; materialized views are not: what they show changes when they are refreshed.
-- p_declared: functions whose dependencies are declared elsewhere; they, and those whose comment declares them, are not
-- followed.
CREATE FUNCTION fraiseql_cache.reads_of(p_function oid, p_declared oid[] DEFAULT '{}')
RETURNS TABLE (class text, oid oid, name text, kind text, persistence text, builtin boolean, volatility text, language text,
               parsed boolean, writes boolean, locks boolean, root text, domains text[], unwatched boolean, suggestion text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  WITH RECURSIVE seen (class, oid) AS (
    SELECT 'f', p_function
    UNION
    SELECT f.class, f.oid
      FROM seen s
      CROSS JOIN LATERAL (
        -- Text of every tree that belongs to the object, and the object itself as pg_depend names it.
        SELECT p.prosqlbody::text AS tree, 'pg_proc'::regclass::oid AS classid, p.oid AS objid FROM pg_proc p
          WHERE s.class = 'f' AND p.oid = s.oid AND p.prosqlbody IS NOT NULL AND p.oid <> ALL (p_declared) AND fraiseql_cache.declared_domains(p.oid) IS NULL
        UNION ALL SELECT p.proargdefaults::text, NULL, NULL FROM pg_proc p
          WHERE s.class = 'f' AND p.oid = s.oid AND p.proargdefaults IS NOT NULL AND p.oid >= 16384
        UNION ALL SELECT r.ev_action::text, 'pg_rewrite'::regclass, r.oid FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class
          WHERE s.class = 'r' AND r.ev_class = s.oid AND r.ev_type = '1' AND c.relkind = 'v' AND c.oid >= 16384
        UNION ALL SELECT concat(o.polqual::text, o.polwithcheck::text), 'pg_policy'::regclass, o.oid FROM pg_policy o JOIN pg_class c ON c.oid = o.polrelid
          WHERE s.class = 'r' AND o.polrelid = s.oid AND c.relrowsecurity AND o.polcmd IN ('r', '*')
        UNION ALL SELECT NULL, NULL, NULL WHERE s.class = 'f'
      ) t
      CROSS JOIN LATERAL (
        SELECT 'r' AS class, m.found[1]::oid AS oid FROM regexp_matches(t.tree, ':relid (\d+)', 'g') AS m (found) WHERE m.found[1] <> '0'
        UNION ALL SELECT 'f', m.found[1]::oid FROM regexp_matches(t.tree, ':(?:funcid|opfuncid|aggfnoid|winfnoid|tsmhandler|seqid) (\d+)', 'g') AS m (found) WHERE m.found[1] <> '0'
        UNION ALL SELECT CASE d.refclassid WHEN 'pg_class'::regclass THEN 'r' ELSE 'f' END, d.refobjid FROM pg_depend d
          WHERE d.classid = t.classid AND d.objid = t.objid AND d.refclassid IN ('pg_class'::regclass, 'pg_proc'::regclass) AND d.deptype = 'n'
        UNION ALL SELECT 'f', o.oprcode FROM pg_depend d JOIN pg_operator o ON o.oid = d.refobjid
          WHERE d.classid = t.classid AND d.objid = t.objid AND d.refclassid = 'pg_operator'::regclass
        UNION ALL SELECT 'f', x.oid FROM pg_aggregate a
          CROSS JOIN LATERAL unnest(ARRAY[a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggserialfn, a.aggdeserialfn, a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn]::oid[]) AS x (oid)
          WHERE t.tree IS NULL AND s.class = 'f' AND a.aggfnoid = s.oid AND s.oid <> ALL (p_declared) AND x.oid <> 0
      ) f
  )
  -- A table is read with its partitions and children.
  , family (oid, member) AS (
    SELECT s.oid, s.oid FROM seen s WHERE s.class = 'r'
    UNION SELECT f.oid, h.inhrelid FROM family f JOIN pg_inherits h ON h.inhparent = f.member
  )
  , ancestry (oid, parent) AS (
    SELECT s.oid, s.oid FROM seen s WHERE s.class = 'r'
    UNION SELECT a.oid, h.inhparent FROM ancestry a JOIN pg_inherits h ON h.inhrelid = a.parent
  )
  SELECT 'relation', c.oid, format('%I.%I', n.nspname, c.relname),
         -- A foreign or temporary child makes the whole what it is.
         COALESCE((SELECT min(m.relkind::text) FROM family f JOIN pg_class m ON m.oid = f.member WHERE f.oid = c.oid AND m.relkind = 'f'), c.relkind::text),
         CASE WHEN EXISTS (SELECT FROM family f JOIN pg_class m ON m.oid = f.member WHERE f.oid = c.oid AND m.relpersistence = 't') THEN 't' ELSE c.relpersistence::text END,
         c.oid < 16384 OR n.nspname IN ('pg_catalog', 'information_schema', 'pg_toast'), NULL, NULL, NULL::boolean, NULL::boolean, NULL::boolean,
         root.name,
         ARRAY(SELECT DISTINCT w.domain FROM family f JOIN fraiseql_cache.watched w ON w.relation = f.member WHERE f.oid = c.oid ORDER BY 1),
         EXISTS (SELECT FROM family f LEFT JOIN fraiseql_cache.watched w ON w.relation = f.member WHERE f.oid = c.oid AND w.id IS NULL),
         fraiseql_cache.domain_of(root.oid)
    FROM seen s JOIN pg_class c ON c.oid = s.oid JOIN pg_namespace n ON n.oid = c.relnamespace
    CROSS JOIN LATERAL (
      SELECT rc.oid, format('%I.%I', rn.nspname, rc.relname) AS name FROM ancestry a JOIN pg_class rc ON rc.oid = a.parent JOIN pg_namespace rn ON rn.oid = rc.relnamespace
       WHERE a.oid = c.oid AND NOT EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = a.parent) ORDER BY rc.oid LIMIT 1) root
   WHERE s.class = 'r'
  UNION ALL
  SELECT 'function', p.oid, p.oid::regprocedure::text, p.prokind::text, NULL, p.oid < 16384,
         p.provolatile::text, l.lanname::text, p.prosqlbody IS NOT NULL, p.prosqlbody::text ~ ':commandType [2-6]',
         p.prosqlbody::text ~ ':hasForUpdate true', NULL, fraiseql_cache.declared_domains(p.oid), NULL, NULL
    FROM seen s JOIN pg_proc p ON p.oid = s.oid JOIN pg_language l ON l.oid = p.prolang
   WHERE s.class = 'f' AND s.oid <> p_function
  UNION ALL
  SELECT 'statement', p.oid, NULL, NULL, NULL, NULL, NULL, NULL, true, p.prosqlbody::text ~ ':commandType [2-6]', p.prosqlbody::text ~ ':hasForUpdate true',
         NULL, NULL, NULL, NULL
    FROM pg_proc p WHERE p.oid = p_function;
END $$;
COMMENT ON FUNCTION fraiseql_cache.reads_of(oid, oid[]) IS 'The tables and functions behind a function with a parsed body (BEGIN ATOMIC), through views, policies and further parsed functions.';

-- The tables that the current transaction has opened, as its locks tell: for tests, in which a statement runs in a transaction
-- of its own. What a plan leaves out is locked too, and so is what functions read.
CREATE FUNCTION fraiseql_cache.opened_relations() RETURNS TABLE (name text, domains text[], suggestion text)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  WITH RECURSIVE ancestry (oid, parent) AS (
    SELECT c.oid, c.oid FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND l.granted AND c.relkind IN ('r', 'p', 'm', 'f') AND c.oid >= 16384
       AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'fraiseql_cache')
       AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
    UNION SELECT a.oid, h.inhparent FROM ancestry a JOIN pg_inherits h ON h.inhrelid = a.parent
  )
  SELECT DISTINCT format('%I.%I', n.nspname, c.relname), ARRAY(SELECT DISTINCT w.domain FROM fraiseql_cache.watched w WHERE w.relation = a.oid),
         fraiseql_cache.domain_of(c.oid)
    FROM ancestry a JOIN pg_class c ON c.oid = a.parent JOIN pg_namespace n ON n.oid = c.relnamespace
   WHERE NOT EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = a.parent);
$$;

-- The parse tree of a function with a parsed body, and of the tables in it those whose rows can be told apart by one column:
-- {"oid": {"domain": …, "columns": [[number, name], …]}}, primary key first and tenant last. NULL where another kind of relation
-- occurs: what a view, a policy or a child reads besides is not in this tree.
CREATE FUNCTION fraiseql_cache.narrowable(p_function oid) RETURNS TABLE (tree text, tables jsonb)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT p.prosqlbody::text, found.tables
    FROM pg_proc p
    CROSS JOIN LATERAL (
      SELECT jsonb_object_agg(c.oid::text, jsonb_build_object('domain', w.domain, 'columns', (
               SELECT COALESCE(jsonb_agg(jsonb_build_array(a.attnum::text, a.attname)
                        ORDER BY EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary AND i.indkey::text = a.attnum::text) DESC,
                                 a.attname = w.tenant_column, a.attnum), '[]')
                 FROM jsonb_array_elements(w.tag_columns) AS g (columns)
                 JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = g.columns ->> 0 AND NOT a.attisdropped
                WHERE jsonb_array_length(g.columns) = 1
                  -- Which of a domain's tables was read, a tag does not say.
                  AND NOT EXISTS (SELECT FROM fraiseql_cache.watched o WHERE o.domain = w.domain AND o.id <> w.id)))) AS tables,
             bool_and(c.relkind = 'r' AND NOT c.relrowsecurity AND w.id IS NOT NULL
               AND NOT EXISTS (SELECT FROM pg_inherits h WHERE c.oid IN (h.inhparent, h.inhrelid))) AS plain
        FROM (SELECT DISTINCT m.found[1]::oid AS oid FROM regexp_matches(p.prosqlbody::text, ':relid (\d+)', 'g') AS m (found) WHERE m.found[1] <> '0') r
        LEFT JOIN pg_class c ON c.oid = r.oid
        LEFT JOIN fraiseql_cache.watched w ON w.relation = c.oid
    ) found
   WHERE p.oid = p_function AND found.plain;
$$;
COMMENT ON FUNCTION fraiseql_cache.narrowable(oid) IS 'The parse tree of a function with a parsed body, and which columns tell the rows of its tables apart; no row where it reads more than plain watched tables.';
