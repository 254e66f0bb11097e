-- Watched tables: which relation feeds which domain, and the triggers compiled for it.

CREATE TABLE fraiseql_cache.watched (
  id            integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  relation      regclass NOT NULL UNIQUE,
  domain        text     NOT NULL CHECK (domain <> ''),
  tenant_column text,
  -- Groups of columns that get column tags: [["id"], ["tenant_id"], ["order_id", "line"]].
  tag_columns   jsonb    NOT NULL,
  row_limit     integer  NOT NULL CHECK (row_limit >= 0),
  -- A partition or inheritance child when it was set up.
  child         boolean  NOT NULL DEFAULT false
);
CREATE INDEX watched_domain_idx ON fraiseql_cache.watched (domain);

-- What comes before the value in a table's tenant tags; NULL where its rows cannot be told apart by tenant.
CREATE FUNCTION fraiseql_cache.tenant_tag_prefix(w fraiseql_cache.watched) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN EXISTS (SELECT FROM jsonb_array_elements((w).tag_columns) AS g (columns) WHERE g.columns = jsonb_build_array((w).tenant_column))
            THEN fraiseql_cache.column_tag_prefix((w).domain, ARRAY[(w).tenant_column]) END;

-- What a function made later needs. It is no member of the extension: left behind by DROP EXTENSION, its triggers would fail
-- every write to the tables they watch; dependent on it, they make DROP EXTENSION refuse, and go with DROP EXTENSION … CASCADE.
-- And nobody may call it who was not allowed to (see 0013), nor make a trigger of it. Except for what fires by row: PostgreSQL
-- copies such triggers to new partitions, and asks whoever creates the partition for the right.
CREATE FUNCTION fraiseql_cache.adopt_function(p_function text, p_by_row boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF NOT p_by_row THEN
    EXECUTE format('REVOKE EXECUTE ON FUNCTION fraiseql_cache.%I FROM PUBLIC', p_function);
  END IF;
  IF EXISTS (SELECT FROM pg_extension e WHERE e.extname = 'pg_fraiseql_cache') THEN
    EXECUTE format('ALTER FUNCTION fraiseql_cache.%I DEPENDS ON EXTENSION pg_fraiseql_cache', p_function);
  END IF;
END $$;

-- The column groups of a relation that can be tags: its primary key, its tenant column, and what was asked for.
CREATE FUNCTION fraiseql_cache.usable_tag_columns(p_relation regclass, p_tenant_column text, p_groups jsonb) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  WITH wanted AS (
    SELECT jsonb_agg(a.attname ORDER BY a.attnum) AS columns, 0 AS rank
      FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
     WHERE i.indrelid = p_relation AND i.indisprimary
    HAVING count(*) > 0
    UNION ALL SELECT jsonb_build_array(p_tenant_column), 1 WHERE p_tenant_column IS NOT NULL
    UNION ALL SELECT g.columns, 2 FROM jsonb_array_elements(COALESCE(p_groups, '[]')) AS g (columns)
  ), usable AS (
    SELECT w.columns, min(w.rank) AS rank FROM wanted w
     WHERE NOT EXISTS (
       SELECT FROM jsonb_array_elements_text(w.columns) AS c (name)
        LEFT JOIN pg_attribute a ON a.attrelid = p_relation AND a.attname = c.name AND a.attnum > 0 AND NOT a.attisdropped
        WHERE a.attname IS NULL OR a.attgenerated = 'v' OR fraiseql_cache.tag_kind(a.atttypid, a.attcollation) IS NULL)
     GROUP BY w.columns
  )
  SELECT COALESCE(jsonb_agg(u.columns ORDER BY u.rank, u.columns::text), '[]') FROM usable u;
$$;

-- A column of a row as text, as SQL; the column's name is quoted already. Not by a cast: casts belong to whoever owns the type,
-- so that the owner of a table could have a function of his own run with the rights of the trigger function's owner.
CREATE FUNCTION fraiseql_cache.text_source(p_row text, p_column text, p_type oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE p_type
           -- What a cast writes another way than the type itself does.
           WHEN 'bool'::regtype THEN concat('CASE ', v.written, ' WHEN ''t'' THEN ''true'' WHEN ''f'' THEN ''false'' END')
           WHEN 'bpchar'::regtype THEN concat('CASE WHEN ', v.name, ' IS NOT NULL THEN rtrim(', v.written, ', '' '') END')
           ELSE concat('CASE WHEN ', v.name, ' IS NOT NULL THEN ', v.written, ' END') END
    FROM (SELECT n.name, concat('concat(', n.name, ')') AS written FROM (SELECT concat(p_row, '.', p_column) AS name) n) v;
$$;

-- The source of one trigger function, cascade rules included. Everything it needs is compiled into it: a write looks nothing up.
CREATE FUNCTION fraiseql_cache.touch_source(w fraiseql_cache.watched, p_operation text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  any_tags text; -- the "some rows" tag of each column group
  row_tags text; -- a query over the transition tables
  row_values text; -- the tags of a row r
  former_values text; -- the tags of a row o that r, which replaced it, no longer has
  one_row_tags text; -- row_tags where the statement changed one row
  new_tenants text; -- a query for the tenants of new rows
  -- What cascade rules add (see 0008); NULL where there are none.
  cascades text := fraiseql_cache.cascade_source(w, p_operation, p_operation = 'truncate');
  many_cascades text := fraiseql_cache.cascade_source(w, p_operation, true);
  found text; -- statements that find out the tags of the rows
  told text;  -- what is logged beside the domain's own row
  by_row boolean; -- whether few rows are told one by one
  addition text := E'\n    UNION ALL SELECT t.tag, this, NULL, NULL, NULL, NULL FROM (%s) AS t (tag)';
  -- OLD and NEW both count: a row that moves from one author to another concerns both.
  tables text[] := CASE p_operation WHEN 'insert' THEN ARRAY['new_rows'] WHEN 'delete' THEN ARRAY['old_rows']
                                    WHEN 'update' THEN ARRAY['new_rows', 'old_rows']
                                    WHEN 'move' THEN ARRAY['(SELECT NEW.*)', '(SELECT OLD.*)'] ELSE '{}' END;
  insertion text := concat_ws(E'\n',
    '    INSERT INTO fraiseql_cache.log (tag, xid, relation, operation, at, application)',
    format('    SELECT %L, this, TG_RELID, %L::"char", clock_timestamp(), current_setting(''application_name'')',
           fraiseql_cache.domain_tag(w.domain), left(p_operation, 1)));
BEGIN
  WITH groups AS (
    SELECT e.place, fraiseql_cache.column_tag_prefix(w.domain, ARRAY(SELECT jsonb_array_elements_text(e.columns))) AS prefix,
           e.columns = jsonb_build_array(w.tenant_column) AS is_tenant,
           (SELECT string_agg('%1$s.' || replace(quote_ident(c.name), '%', '%%'), ', ' ORDER BY c.place)
              FROM jsonb_array_elements_text(e.columns) WITH ORDINALITY AS c (name, place)) AS names,
           -- "%1$s" stands for the row. A row of no tenant is named too: it may be shared by all of them.
           (SELECT format(CASE WHEN e.columns = jsonb_build_array(w.tenant_column) THEN 'COALESCE(%s, ''~'')' ELSE '%s' END,
                   -- Escaped whatever the type is: after an ALTER TABLE … TYPE readers go by the new one at once. The type stands
                   -- in a comment, so that the audit sees the change.
                   string_agg(format('fraiseql_cache.tag_text(%s /* %s */)', fraiseql_cache.text_source('%1$s', replace(quote_ident(a.attname), '%', '%%'), a.atttypid),
                                     fraiseql_cache.tag_kind(a.atttypid, a.attcollation)), ' || '','' || ' ORDER BY c.place))
              FROM jsonb_array_elements_text(e.columns) WITH ORDINALITY AS c (name, place)
              JOIN pg_attribute a ON a.attrelid = w.relation AND a.attname = c.name) AS value
      FROM jsonb_array_elements(w.tag_columns) WITH ORDINALITY AS e (columns, place)
  )
  SELECT string_agg(format('(%L)', g.prefix || '*'), ', ' ORDER BY g.place),
         string_agg(format('(%L || %s)', g.prefix, format(g.value, 'r')), ', ' ORDER BY g.place),
         -- By their images, because operators of a type may be its owner's, as casts are.
         string_agg(format('(CASE WHEN NOT record_image_eq(ROW(%s), ROW(%s)) THEN %L || %s END)', format(g.names, 'o'), format(g.names, 'r'), g.prefix, format(g.value, 'o')),
                    ', ' ORDER BY g.place),
         min(format('SELECT DISTINCT %L || %s FROM new_rows r LIMIT %s', g.prefix, format(g.value, 'r'), w.row_limit))
           FILTER (WHERE g.is_tenant AND 'new_rows' = ANY (tables))
    INTO any_tags, row_values, former_values, new_tenants FROM groups g;
  SELECT string_agg(format('SELECT v.tag FROM %s r CROSS JOIN LATERAL (VALUES %s) AS v (tag)', t.name, row_values), ' UNION ALL ' ORDER BY t.name)
    INTO row_tags FROM unnest(tables) AS t (name) WHERE row_values IS NOT NULL;
  -- Of a single row OLD and NEW are known to belong together, and mostly they agree.
  IF p_operation = 'update' AND row_values IS NOT NULL THEN
    one_row_tags := format('SELECT v.tag FROM new_rows r CROSS JOIN old_rows o CROSS JOIN LATERAL (VALUES %s, %s) AS v (tag)', row_values, former_values);
  END IF;

  by_row := row_tags IS NOT NULL OR cascades IS NOT NULL;

  IF p_operation = 'truncate' OR any_tags IS NULL AND cascades IS NULL THEN
    told := concat(replace(addition, '%s', 'VALUES ' || any_tags), replace(addition, '%s', many_cascades));
  ELSE
    -- Beside "some rows", which voids what needs voiding: a tenant whose first rows come in bulk gets known.
    found := format('      touched := ARRAY(%s);', concat_ws(' UNION ALL ', 'VALUES ' || any_tags, '(' || new_tenants || ')', many_cascades));
    IF by_row THEN
      found := concat(
        CASE WHEN one_row_tags IS NOT NULL AND w.row_limit > 0
             THEN format(E'      IF changed = 1 THEN\n      touched := ARRAY(%s);\n      ELSIF', concat_ws(' UNION ALL ', one_row_tags, cascades)) ELSE '      IF' END,
        format(E' changed <= %s THEN\n      touched := ARRAY(%s);\n      ELSE\n', w.row_limit, concat_ws(' UNION ALL ', row_tags, cascades)), found, E'\n      END IF;');
    END IF;
    -- After a column was renamed or dropped, and until the table is watched anew, nobody can tell which rows; the
    -- application's write must not fail for that. Nothing is written inside the block, so it takes no transaction id.
    found := concat_ws(E'\n', '  BEGIN', found, '  EXCEPTION WHEN undefined_column THEN',
      format('    PERFORM fraiseql_cache.touch_domains(ARRAY[%L]);', w.domain), '  END;');
    told := E'\n    UNION ALL SELECT t.tag, this, NULL, NULL, NULL, NULL FROM unnest(touched) AS t (tag) WHERE t.tag IS NOT NULL';
  END IF;

  RETURN concat_ws(E'\n',
    'DECLARE',
    '  this bigint;',
    '  changed bigint;',
    CASE WHEN found IS NOT NULL THEN '  touched text[];' END,
    'BEGIN',
    CASE WHEN p_operation <> 'truncate' THEN concat_ws(E'\n',
      format('  SELECT count(*) INTO changed FROM (SELECT FROM %s LIMIT %s) AS few;',
        -- One row at a time cannot count the rows of its statement; what the transaction has logged bounds the log as well.
        CASE p_operation WHEN 'move' THEN '(SELECT UNION ALL SELECT FROM fraiseql_cache.log l WHERE l.xid = pg_current_xact_id()::text::bigint) logged'
                         ELSE tables[1] END, w.row_limit + 1),
      '  IF changed = 0 THEN RETURN NULL; END IF;') END,
    '  this := pg_current_xact_id()::text::bigint;',
    found,
    -- The domain's own row says who wrote.
    insertion || told,
    '    ON CONFLICT DO NOTHING;',
    '  RETURN NULL;',
    'END');
END $$;

CREATE FUNCTION fraiseql_cache.make_trigger_function(w fraiseql_cache.watched, p_operation text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  EXECUTE format('CREATE OR REPLACE FUNCTION fraiseql_cache.touch_%s_%s() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS %L',
    w.id, p_operation, fraiseql_cache.touch_source(w, p_operation));
  PERFORM fraiseql_cache.adopt_function(format('touch_%s_%s', w.id, p_operation), p_operation = 'move');
END $$;

-- A row that MERGE moves to another partition is in no transition table (PostgreSQL 15 to 18), and if nothing else changed
-- the UPDATE triggers see a statement without rows. Row triggers do see it, as a DELETE and an INSERT. They count from
-- the first UPDATE of a partitioned table in a transaction on: before it their WHEN is all that they cost.
CREATE FUNCTION fraiseql_cache.expect_moves() RETURNS trigger
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM set_config('fraiseql_cache.moving', 'on', true);
  RETURN NULL;
END $$;

-- The kinds of trigger function that a relation has.
CREATE FUNCTION fraiseql_cache.trigger_kinds(p_relation regclass) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN ARRAY['insert', 'update', 'delete', 'truncate']
  || CASE (SELECT c.relkind FROM pg_class c WHERE c.oid = p_relation) WHEN 'p' THEN ARRAY['move'] ELSE '{}' END;

-- Void whatever a domain has: its own tag and the "some rows" tag of each of its columns.
CREATE FUNCTION fraiseql_cache.domain_tags(p_domain text) RETURNS text[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT array_agg(t.tag) FROM (
    SELECT fraiseql_cache.domain_tag(p_domain) AS tag
    UNION SELECT fraiseql_cache.column_tag_prefix(w.domain, ARRAY(SELECT jsonb_array_elements_text(g.columns))) || '*'
      FROM fraiseql_cache.watched w, jsonb_array_elements(w.tag_columns) AS g (columns) WHERE w.domain = p_domain) t;
$$;

-- The same as a write that may have concerned any row: what follows by cascade rules is void too.
CREATE FUNCTION fraiseql_cache.touch_domains(domains text[]) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM fraiseql_cache.touch(ARRAY(
    SELECT t.tag FROM unnest(domains) AS d (name), unnest(fraiseql_cache.domain_tags(d.name)) AS t (tag)
    UNION SELECT c.tag FROM unnest(domains) AS d (name), fraiseql_cache.cascaded(d.name) c));
END $$;

-- The triggers a relation should carry, and what is wrong with those it does carry (NULL where nothing is).
CREATE FUNCTION fraiseql_cache.audit_tables() RETURNS TABLE (relation regclass, domain text, problem text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  -- Partitions and inheritance children must be watched themselves: a statement that names them fires only their own triggers.
  WITH RECURSIVE family AS (
    SELECT w.relation::oid AS oid, w.domain FROM fraiseql_cache.watched w
    UNION SELECT h.inhrelid, f.domain FROM family f JOIN pg_inherits h ON h.inhparent = f.oid
  )
  SELECT f.oid::regclass, f.domain,
    CASE
      WHEN c.oid IS NULL THEN format('it no longer exists; if that is meant: SELECT fraiseql_cache.unwatch(%s)', f.oid)
      WHEN w.id IS NULL THEN 'a partition or child table without triggers'
      WHEN EXISTS (SELECT FROM pg_proc p WHERE p.oid = to_regprocedure(format('fraiseql_cache.touch_%s_update()', w.id))
                      AND p.prosrc <> fraiseql_cache.touch_source(w, 'update')) THEN 'triggers made for columns as they were before an ALTER TABLE, or for other cascade rules'
      WHEN c.relkind = 'p' AND 2 > (SELECT count(*) FROM pg_trigger t WHERE t.tgrelid = f.oid AND t.tgenabled = 'A'
                      AND t.tgname IN ('fraiseql_cache_moving', 'fraiseql_cache_move_' || w.id)) THEN 'the triggers for rows that move between partitions are missing or not ENABLE ALWAYS'
      WHEN s.subscribed THEN 'fed by logical replication, which fires no statement triggers'
      ELSE (SELECT string_agg(format('trigger %s is %s', n.name, CASE WHEN t.oid IS NULL THEN 'missing' ELSE 'not ENABLE ALWAYS' END), '; ' ORDER BY n.name)
              FROM unnest(ARRAY['insert', 'update', 'delete', 'truncate']) AS o (operation)
              CROSS JOIN LATERAL (SELECT 'fraiseql_cache_' || o.operation AS name) n
              LEFT JOIN pg_trigger t ON t.tgrelid = f.oid AND t.tgname = n.name
                AND t.tgfoid = to_regprocedure(format('fraiseql_cache.touch_%s_%s()', w.id, o.operation))
             WHERE t.oid IS NULL OR t.tgenabled <> 'A')
    END
  FROM family f
  LEFT JOIN pg_class c ON c.oid = f.oid
  LEFT JOIN fraiseql_cache.watched w ON w.relation = f.oid
  CROSS JOIN LATERAL (SELECT EXISTS (SELECT FROM pg_subscription_rel r WHERE r.srrelid = f.oid) AS subscribed) s;
$$;

-- Domains that an audit found untracked. What was written to them meanwhile is in no log, so when the triggers work again,
-- by whosever hand, everything from before must be made void. (Lost in a crash, which makes everything void by itself.)
CREATE UNLOGGED TABLE fraiseql_cache.untracked (
  domain text PRIMARY KEY
);

-- The audit as processes run it, at start and with every purge.
CREATE FUNCTION fraiseql_cache.check_domains() RETURNS TABLE (relation regclass, domain text, problem text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  lost_domains text[];
  healed text[];
  gone regclass;
BEGIN
  -- A partition that was dropped took its rows along. (Of any other table this is not known: it may be made anew.)
  FOR gone IN SELECT w.relation FROM fraiseql_cache.watched w WHERE w.child AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = w.relation) LOOP
    BEGIN
      PERFORM fraiseql_cache.unwatch(gone);
    EXCEPTION WHEN insufficient_privilege THEN
      -- Its trigger functions are somebody else's. They are of no use any more, and do no harm.
      PERFORM fraiseql_cache.touch_domains(ARRAY(SELECT w.domain FROM fraiseql_cache.watched w WHERE w.relation = gone));
      DELETE FROM fraiseql_cache.watched w WHERE w.relation = gone;
    END;
  END LOOP;
  -- What is stored already may have been missed by a write, and nothing says since when.
  WITH lost AS (
    INSERT INTO fraiseql_cache.untracked (domain)
      SELECT DISTINCT a.domain FROM fraiseql_cache.audit() a WHERE a.problem IS NOT NULL ON CONFLICT DO NOTHING RETURNING domain
  )
  SELECT array_agg(l.domain) INTO lost_domains FROM lost l;
  IF lost_domains IS NOT NULL THEN
    PERFORM fraiseql_cache.touch_domains(lost_domains);
    PERFORM fraiseql_cache.touch(ARRAY[fraiseql_cache.watching_tag()]);
  END IF;
  WITH fine AS (
    DELETE FROM fraiseql_cache.untracked u
     WHERE NOT EXISTS (SELECT FROM fraiseql_cache.audit() a WHERE a.domain = u.domain AND a.problem IS NOT NULL) RETURNING u.domain
  )
  SELECT array_agg(f.domain) INTO healed FROM fine f;
  IF healed IS NOT NULL THEN
    PERFORM fraiseql_cache.touch_domains(healed);
  END IF;
  RETURN QUERY SELECT a.relation, a.domain, a.problem FROM fraiseql_cache.audit() a;
END $$;

-- Whether a table, its partitions and its children are watched exactly like this already. Takes no lock and needs no
-- rights, so that a process which may not create triggers can see that it need not.
CREATE FUNCTION fraiseql_cache.is_watched(p_relation regclass, p_domain text, p_tenant_column text DEFAULT NULL,
  p_tag_columns jsonb DEFAULT NULL, p_row_limit integer DEFAULT 100) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  WITH RECURSIVE family AS (
    SELECT p_relation::oid AS oid UNION SELECT h.inhrelid FROM family f JOIN pg_inherits h ON h.inhparent = f.oid
  )
  SELECT NOT EXISTS (
    SELECT FROM family f LEFT JOIN fraiseql_cache.watched w ON w.relation = f.oid
     WHERE w.id IS NULL OR w.domain <> p_domain OR w.tenant_column IS DISTINCT FROM p_tenant_column OR w.row_limit <> p_row_limit
        OR w.tag_columns <> fraiseql_cache.usable_tag_columns(f.oid, p_tenant_column, p_tag_columns))
    AND NOT EXISTS (SELECT FROM fraiseql_cache.audit_tables() a JOIN family f ON f.oid = a.relation WHERE a.problem IS NOT NULL);
$$;

-- Install (or bring up to date) the triggers of one table and, if it has any, its partitions and children.
-- Does nothing, and takes no lock on the table, where everything is as asked already.
CREATE FUNCTION fraiseql_cache.watch(p_relation regclass, p_domain text, p_tenant_column text DEFAULT NULL,
  p_tag_columns jsonb DEFAULT NULL, p_row_limit integer DEFAULT 100) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  wanted fraiseql_cache.watched;
  child regclass;
  operation text;
  done boolean := false;
BEGIN
  IF p_tenant_column IS NOT NULL AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = p_relation AND a.attname = p_tenant_column AND NOT a.attisdropped) THEN
    RAISE EXCEPTION 'table % has no column "%"; name its tenant column, or NULL if it has none', p_relation, p_tenant_column USING ERRCODE = 'undefined_column';
  END IF;
  IF NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = p_relation AND c.relkind IN ('r', 'p')) THEN
    RAISE EXCEPTION '% is not a table; watch the tables behind it instead', p_relation USING ERRCODE = 'wrong_object_type';
  END IF;
  IF fraiseql_cache.is_watched(p_relation, p_domain, p_tenant_column, p_tag_columns, p_row_limit) THEN
    RETURN false;
  END IF;
  PERFORM pg_advisory_xact_lock(hashtext('fraiseql_cache.watch'));

  wanted.tag_columns := fraiseql_cache.usable_tag_columns(p_relation, p_tenant_column, p_tag_columns);
  IF NOT EXISTS (SELECT FROM fraiseql_cache.watched w WHERE w.relation = p_relation AND w.domain = p_domain
                    AND w.tenant_column IS NOT DISTINCT FROM p_tenant_column AND w.tag_columns = wanted.tag_columns AND w.row_limit = p_row_limit)
     OR EXISTS (SELECT FROM fraiseql_cache.audit_tables() a WHERE a.relation = p_relation AND a.problem IS NOT NULL)
  THEN
    -- Tables of this domain that were dropped, to be made anew perhaps: this may be the new one.
    PERFORM fraiseql_cache.unwatch(w.relation) FROM fraiseql_cache.watched w
      WHERE w.domain = p_domain AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = w.relation);
    -- Entries made under an old domain name would otherwise outlive it.
    PERFORM fraiseql_cache.touch_domains(ARRAY(SELECT w.domain FROM fraiseql_cache.watched w WHERE w.relation = p_relation));
    INSERT INTO fraiseql_cache.watched AS w (relation, domain, tenant_column, tag_columns, row_limit, child)
      VALUES (p_relation, p_domain, p_tenant_column, wanted.tag_columns, p_row_limit, EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = p_relation))
      ON CONFLICT (relation) DO UPDATE SET domain = EXCLUDED.domain, tenant_column = EXCLUDED.tenant_column,
        tag_columns = EXCLUDED.tag_columns, row_limit = EXCLUDED.row_limit, child = EXCLUDED.child
      RETURNING * INTO wanted;

    FOREACH operation IN ARRAY fraiseql_cache.trigger_kinds(p_relation) LOOP
      PERFORM fraiseql_cache.make_trigger_function(wanted, operation);
      IF operation = 'move' THEN
        EXECUTE format('CREATE OR REPLACE TRIGGER fraiseql_cache_moving BEFORE UPDATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION fraiseql_cache.expect_moves()', p_relation);
        -- Copied to every partition, also to those of a partition that has one itself: hence the number in the name.
        EXECUTE format('CREATE OR REPLACE TRIGGER fraiseql_cache_move_%s AFTER INSERT OR DELETE ON %s FOR EACH ROW
          WHEN (current_setting(''fraiseql_cache.moving'', true) = ''on'') EXECUTE FUNCTION fraiseql_cache.touch_%1$s_move()', wanted.id, p_relation);
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER fraiseql_cache_moving, ENABLE ALWAYS TRIGGER fraiseql_cache_move_%s', p_relation, wanted.id);
        CONTINUE;
      END IF;
      EXECUTE format('CREATE OR REPLACE TRIGGER fraiseql_cache_%s AFTER %s ON %s %s FOR EACH STATEMENT EXECUTE FUNCTION fraiseql_cache.touch_%s_%1$s()',
        operation, upper(operation), p_relation,
        CASE operation WHEN 'insert' THEN 'REFERENCING NEW TABLE AS new_rows'
                       WHEN 'update' THEN 'REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows'
                       WHEN 'delete' THEN 'REFERENCING OLD TABLE AS old_rows' END,
        wanted.id);
      -- ALWAYS: also under session_replication_role = replica.
      EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER fraiseql_cache_%s', p_relation, operation);
    END LOOP;
    PERFORM fraiseql_cache.touch_domains(ARRAY[p_domain]);
    -- Every process looks again which domains are fed.
    PERFORM fraiseql_cache.touch(ARRAY[fraiseql_cache.watching_tag()]);
    done := true;
  END IF;

  FOR child IN SELECT h.inhrelid::regclass FROM pg_inherits h WHERE h.inhparent = p_relation LOOP
    -- Not "watch(...) OR done": where done is true the call may be left out.
    IF fraiseql_cache.watch(child, p_domain, p_tenant_column, p_tag_columns, p_row_limit) THEN
      done := true;
    END IF;
  END LOOP;
  RETURN done;
END $$;

-- Of a table that was dropped, give the number by which the audit names it.
CREATE FUNCTION fraiseql_cache.unwatch(p_relation regclass) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  gone fraiseql_cache.watched;
  operation text;
  child regclass;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtext('fraiseql_cache.watch'));
  PERFORM fraiseql_cache.touch_domains(ARRAY(SELECT w.domain FROM fraiseql_cache.watched w WHERE w.relation = p_relation));
  DELETE FROM fraiseql_cache.watched w WHERE w.relation = p_relation RETURNING * INTO gone;
  IF gone.id IS NULL THEN
    RETURN false;
  END IF;
  PERFORM fraiseql_cache.touch(ARRAY[fraiseql_cache.watching_tag()]);
  FOREACH operation IN ARRAY ARRAY['insert', 'update', 'delete', 'truncate', 'move'] LOOP
    IF NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = p_relation) THEN
      NULL; -- its triggers went with it
    ELSIF operation = 'move' THEN
      EXECUTE format('DROP TRIGGER IF EXISTS fraiseql_cache_moving ON %s', p_relation);
      EXECUTE format('DROP TRIGGER IF EXISTS fraiseql_cache_move_%s ON %s', gone.id, p_relation);
    ELSE
      EXECUTE format('DROP TRIGGER IF EXISTS fraiseql_cache_%s ON %s', operation, p_relation);
    END IF;
    EXECUTE format('DROP FUNCTION IF EXISTS fraiseql_cache.touch_%s_%s()', gone.id, operation);
  END LOOP;
  FOR child IN SELECT h.inhrelid::regclass FROM pg_inherits h WHERE h.inhparent = p_relation LOOP
    PERFORM fraiseql_cache.unwatch(child);
  END LOOP;
  RETURN true;
END $$;

-- The domain a table's name suggests: "users", "public.users" and "tb_user" feed "user".
CREATE FUNCTION fraiseql_cache.domain_of(p_relation regclass) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN n.name ~ '[^aeiou]ies$' THEN left(n.name, -3) || 'y'
              WHEN n.name ~ '(s|x|z|ch|sh)es$' THEN left(n.name, -2)
              WHEN n.name ~ '[^s]s$' THEN left(n.name, -1)
              ELSE n.name END
    FROM (SELECT regexp_replace(c.relname::text, '^t[bv]_(?=.)', '') AS name FROM pg_class c WHERE c.oid = p_relation) n;
$$;

-- What is watched, for readers that decide by it how narrow a dependency can be. "guarded": row-level security adds to what
-- is read of it: "here" conditions on its own rows, "elsewhere" ones that read other tables, or call functions that could.
CREATE FUNCTION fraiseql_cache.watched_tables() RETURNS TABLE (schema_name text, table_name text, domain text, tenant_column text, tag_columns jsonb, guarded text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT n.nspname::text, c.relname::text, w.domain, w.tenant_column, w.tag_columns,
         CASE WHEN NOT c.relrowsecurity THEN NULL
              WHEN EXISTS (SELECT FROM pg_policy o WHERE o.polrelid = c.oid AND o.polcmd IN ('r', '*')
                              AND (o.polqual::text ~ '{SUBLINK' OR EXISTS (
                                SELECT FROM pg_depend d WHERE d.classid = 'pg_policy'::regclass AND d.objid = o.oid
                                   AND d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass)))) THEN 'elsewhere'
              ELSE 'here' END
    FROM fraiseql_cache.watched w JOIN pg_class c ON c.oid = w.relation JOIN pg_namespace n ON n.oid = c.relnamespace;
$$;
