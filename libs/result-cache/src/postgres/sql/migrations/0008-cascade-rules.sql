-- Cascades: a write to rows of one domain counts as a write to others. Rules are data; they are compiled into the trigger
-- functions of their source's tables, which go by OLD and NEW rows alone. Looking dependents up instead would miss those
-- that a concurrent transaction inserts.

-- What a rule of the type 'detailed' says. Beside cascade_rules, whose three columns FraiseQL's client knows.
CREATE TABLE fraiseql_cache.cascade_detail (
  id            integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name          text NOT NULL DEFAULT '', -- whose rule it is
  source_domain text NOT NULL,
  pattern       text NOT NULL, -- as it was written: "post:author:{id}"
  target_domain text,          -- NULL: a free tag
  -- Only target rows whose target_column equals the written row's source_column; without them, any row.
  source_column text,
  target_column text,
  free_tag      text,    -- "user:{id}:followers"
  condition     jsonb,   -- {"published": true, "status": ["a", "b"], "deleted_at": null}
  columns       text[],  -- an UPDATE cascades only where one of them changed
  max_depth     integer CHECK (max_depth > 0),
  UNIQUE (name, source_domain, pattern),
  CHECK ((target_domain IS NULL) = (free_tag IS NOT NULL)),
  CHECK ((source_column IS NULL) = (target_column IS NULL)),
  FOREIGN KEY (source_domain, target_domain) REFERENCES fraiseql_cache.cascade_rules ON DELETE CASCADE ON UPDATE CASCADE
);

CREATE VIEW fraiseql_cache.cascade_edge AS
  SELECT '' AS name, r.source_domain AS source, r.target_domain AS pattern, r.target_domain AS target, NULL::text AS source_column,
         NULL::text AS target_column, NULL::text AS free_tag, NULL::jsonb AS condition, NULL::text[] AS columns, NULL::integer AS max_depth
    FROM fraiseql_cache.cascade_rules r WHERE r.rule_type <> 'detailed'
  UNION ALL
  SELECT d.name, d.source_domain, d.pattern, d.target_domain, d.source_column, d.target_column, d.free_tag, d.condition, d.columns, d.max_depth
    FROM fraiseql_cache.cascade_detail d;

-- "post.@user=*": no column's name can hold an "@" as it is.
CREATE FUNCTION fraiseql_cache.cascade_tag(p_source text, p_target text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN fraiseql_cache.tag_text(p_target) || '.@' || fraiseql_cache.tag_text(p_source) || '=*';

-- Everything that rules lead to, level by level. A cascade never comes back to its source, but by a rule that says so
-- itself: with two-way rules every write would void every row of its own domain otherwise. Of how many levels are left a
-- domain keeps the most, so that circles end.
CREATE FUNCTION fraiseql_cache.cascade_closure() RETURNS SETOF fraiseql_cache.cascade_reach
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  endless constant integer := 2147483647;
  first record;
  level integer;
  domains text[]; -- reached on this level
  lefts integer[];
  known jsonb;    -- domain: levels left
BEGIN
  FOR first IN SELECT e.source, e.target, max(COALESCE(e.max_depth, endless)) AS depth FROM fraiseql_cache.cascade_edge e
                WHERE e.target IS NOT NULL GROUP BY e.source, e.target ORDER BY 1, 2 LOOP
    RETURN NEXT (first.source, first.target, first.target, 1, fraiseql_cache.cascade_tag(first.source, first.target))::fraiseql_cache.cascade_reach;
    CONTINUE WHEN first.source = first.target;
    level := 1;
    domains := ARRAY[first.target];
    lefts := ARRAY[CASE first.depth WHEN endless THEN endless ELSE first.depth - 1 END];
    known := jsonb_build_object(first.target, lefts[1]);
    LOOP
      level := level + 1;
      SELECT array_agg(n.target ORDER BY n.target), array_agg(n.after ORDER BY n.target) INTO domains, lefts FROM (
        SELECT e.target, max(CASE s.budget WHEN endless THEN endless ELSE s.budget - 1 END) AS after
          FROM unnest(domains, lefts) AS f (domain, remaining) JOIN fraiseql_cache.cascade_edge e ON e.source = f.domain
          CROSS JOIN LATERAL (SELECT LEAST(f.remaining, COALESCE(e.max_depth, endless)) AS budget) s
         WHERE f.remaining > 0 AND e.target <> first.source GROUP BY e.target) n
       WHERE n.after > COALESCE((known ->> n.target)::integer, -1);
      EXIT WHEN domains IS NULL;
      FOR i IN 1 .. cardinality(domains) LOOP
        IF NOT known ? domains[i] THEN
          RETURN NEXT (first.source, first.target, domains[i], level, fraiseql_cache.cascade_tag(first.source, domains[i]))::fraiseql_cache.cascade_reach;
        END IF;
        known := known || jsonb_build_object(domains[i], lefts[i]);
      END LOOP;
    END LOOP;
  END LOOP;
END $$;

-- How a column's values are compared with those of a condition; NULL where they cannot be.
CREATE FUNCTION fraiseql_cache.condition_kind(p_relation regclass, p_column text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN a.atttypid = 'bool'::regtype THEN 'boolean' WHEN t.typtype = 'e' THEN 'enum' ELSE fraiseql_cache.tag_kind(a.atttypid, a.attcollation) END
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
   WHERE a.attrelid = p_relation AND a.attname = p_column AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated <> 'v';
$$;

-- A condition's value in the form the column's own output would have; NULL where it is no such value.
CREATE FUNCTION fraiseql_cache.condition_value(kind text, value jsonb) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN kind = 'boolean' THEN CASE WHEN jsonb_typeof(value) = 'boolean' THEN value #>> '{}' END
            WHEN jsonb_typeof(value) = 'boolean' OR jsonb_typeof(value) NOT IN ('string', 'number') THEN NULL
            WHEN kind IN ('enum', 'text') THEN value #>> '{}'
            ELSE fraiseql_cache.tag_value(kind, value #>> '{}') END;

-- A condition on a row r as SQL; NULL where it cannot be decided, and so everything cascades. Texts are compared, which
-- never fails: a rule must not make the application's writes do so.
CREATE FUNCTION fraiseql_cache.condition_source(p_relation regclass, p_condition jsonb) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  part record;
  kind text;
  source text; -- the column as text
  value jsonb;
  written text;
  choices text[];
  parts text[] := '{}';
BEGIN
  FOR part IN SELECT c.key, CASE jsonb_typeof(c.value) WHEN 'array' THEN c.value ELSE jsonb_build_array(c.value) END AS any_of
                FROM jsonb_each(p_condition) c ORDER BY c.key LOOP
    kind := fraiseql_cache.condition_kind(p_relation, part.key);
    source := (SELECT fraiseql_cache.text_source('r', quote_ident(part.key), a.atttypid) FROM pg_attribute a WHERE a.attrelid = p_relation AND a.attname = part.key);
    choices := '{}';
    FOR value IN SELECT e.value FROM jsonb_array_elements(part.any_of) e LOOP
      written := fraiseql_cache.condition_value(kind, value);
      IF value <> 'null' AND written IS NULL THEN
        RETURN NULL;
      END IF;
      choices := choices || CASE WHEN value = 'null' THEN format('r.%I IS NULL', part.key) ELSE format('%s = %L', source, written) END;
    END LOOP;
    IF kind IS NULL OR choices = '{}' THEN
      RETURN NULL;
    END IF;
    parts := parts || format('(%s /* %s */)', array_to_string(choices, ' OR '), kind);
  END LOOP;
  RETURN NULLIF(array_to_string(parts, ' AND '), '');
END $$;

-- A free tag's text with the values of a row r, as SQL; NULL where the table has not got all its columns.
CREATE FUNCTION fraiseql_cache.free_tag_source(p_relation regclass, p_template text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT 'fraiseql_cache.free_tag(' || string_agg(CASE WHEN p.at % 2 = 1 THEN quote_literal(p.text) WHEN a.attname IS NOT NULL THEN fraiseql_cache.text_source('r', quote_ident(p.text), a.atttypid) END, ' || ' ORDER BY p.at) || ')'
    FROM regexp_split_to_table(regexp_replace(p_template, '\{([^{}]+)\}', E'\x01\\1\x01', 'g'), E'\x01') WITH ORDINALITY AS p (text, at)
    LEFT JOIN pg_attribute a ON a.attrelid = p_relation AND a.attname = p.text AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated <> 'v'
  HAVING bool_and(p.at % 2 = 1 OR a.attname IS NOT NULL);
$$;

-- A query for the tags that a write to a watched table cascades to; NULL where no rule has it for a source. p_many: which
-- rows is not told, as after TRUNCATE, or where there are too many.
CREATE FUNCTION fraiseql_cache.cascade_source(w fraiseql_cache.watched, p_operation text, p_many boolean) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  edge record;
  filter text;
  compared text[]; -- the columns that tell an unchanged row
  relation_key text[];
  here text[];
  link text;
  fixed text[];    -- tags that are the same whatever the row
  by_row text[];   -- expressions over a row r
  any_fixed text[] := '{}';
  any_row text[] := '{}';
  queries text[] := '{}';
  tables text[] := CASE p_operation WHEN 'insert' THEN ARRAY['new_rows'] WHEN 'delete' THEN ARRAY['old_rows'] WHEN 'update' THEN ARRAY['new_rows', 'old_rows']
                                    WHEN 'move' THEN ARRAY['(SELECT NEW.*)', '(SELECT OLD.*)'] ELSE '{}' END;
  source_rows text;
BEGIN
  IF NOT EXISTS (SELECT FROM fraiseql_cache.cascade_edge e WHERE e.source = w.domain) THEN
    RETURN NULL;
  END IF;
  relation_key := ARRAY(SELECT a.attname::text FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
                         WHERE i.indrelid = w.relation AND i.indisprimary AND i.indimmediate ORDER BY a.attnum);
  here := ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = w.relation AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated <> 'v');
  FOR edge IN SELECT * FROM fraiseql_cache.cascade_edge e WHERE e.source = w.domain
               ORDER BY e.target, e.pattern, e.name, e.target_column, e.source_column LOOP
    fixed := ARRAY(SELECT quote_literal(t.tag) FROM (
      SELECT fraiseql_cache.domain_tag(r.target) AS tag FROM fraiseql_cache.cascade_reach r WHERE r.source = edge.source AND r.via = edge.target
      UNION SELECT r.tag FROM fraiseql_cache.cascade_reach r WHERE r.source = edge.source AND r.via = edge.target) t ORDER BY t.tag);
    by_row := '{}';
    IF edge.target_column IS NOT NULL THEN
      link := fraiseql_cache.column_tag_prefix(edge.target, ARRAY[edge.target_column]);
      IF p_many OR edge.source_column <> ALL (here) THEN
        fixed := fixed || quote_literal(link || '*');
      ELSE
        -- The kind stands in a comment for the audit, as with column tags.
        by_row := by_row || (SELECT format('%L || fraiseql_cache.tag_text(%s /* %s */)', link, fraiseql_cache.text_source('r', quote_ident(a.attname), a.atttypid), fraiseql_cache.tag_kind(a.atttypid, a.attcollation))
                               FROM pg_attribute a WHERE a.attrelid = w.relation AND a.attname = edge.source_column);
      END IF;
    ELSIF edge.free_tag IS NOT NULL THEN
      link := CASE WHEN p_many AND edge.free_tag ~ '\{[^{}]+\}' THEN NULL ELSE fraiseql_cache.free_tag_source(w.relation, edge.free_tag) END;
      IF link IS NULL THEN
        fixed := fixed || quote_literal('@*');
      ELSE
        by_row := by_row || link;
      END IF;
    END IF;

    filter := CASE WHEN p_operation <> 'truncate' THEN fraiseql_cache.condition_source(w.relation, edge.condition) END;
    -- Unchanged is a row that is still there, by its primary key, with the same values. Of many rows all count as changed:
    -- pairing them by a plan made for few could take for ever. Which rows it links to, or whether it cascades, may change too.
    compared := CASE WHEN p_operation = 'update' AND NOT p_many AND relation_key <> '{}' AND edge.columns <@ here THEN relation_key
      || ARRAY(SELECT DISTINCT c.name FROM unnest(edge.columns || edge.source_column || ARRAY(SELECT jsonb_object_keys(edge.condition))) AS c (name)
                WHERE c.name = ANY (here) ORDER BY 1) END;

    IF filter IS NULL AND compared IS NULL THEN
      any_fixed := any_fixed || fixed;
      any_row := any_row || by_row;
    ELSIF p_many THEN
      SELECT string_agg(format('SELECT FROM %s r WHERE %s', t.name, filter), ' UNION ALL ' ORDER BY t.name) INTO source_rows FROM unnest(tables) AS t (name);
      queries := queries || format('SELECT v.tag FROM (VALUES (%s)) AS v (tag) WHERE EXISTS (%s)', array_to_string(fixed || by_row, '), ('), source_rows);
    ELSE
      queries := queries || ARRAY(
        SELECT format('SELECT DISTINCT v.tag FROM %s r CROSS JOIN LATERAL (VALUES (%s)) AS v (tag) WHERE %s', t.name, array_to_string(fixed || by_row, '), ('),
                      concat_ws(' AND ', filter, (SELECT format('NOT EXISTS (SELECT FROM %s u WHERE record_image_eq(ROW(%s), ROW(%s)))', CASE t.name WHEN 'new_rows' THEN 'old_rows' ELSE 'new_rows' END,
                        string_agg(format('u.%I', c.name), ', ' ORDER BY c.place), string_agg(format('r.%I', c.name), ', ' ORDER BY c.place))
                          FROM unnest(compared) WITH ORDINALITY AS c (name, place) HAVING count(*) > 0)))
          FROM unnest(tables) AS t (name) ORDER BY t.name);
    END IF;
  END LOOP;

  IF p_many THEN
    any_fixed := any_fixed || any_row; -- free tags that name no column
  ELSIF any_row <> '{}' THEN
    queries := queries || ARRAY(SELECT format('SELECT v.tag FROM %s r CROSS JOIN LATERAL (VALUES (%s)) AS v (tag)', t.name, array_to_string(any_row, '), ('))
                                  FROM unnest(tables) AS t (name) ORDER BY t.name);
  END IF;
  any_fixed := ARRAY(SELECT DISTINCT f.tag FROM unnest(any_fixed) AS f (tag) ORDER BY 1);
  IF any_fixed <> '{}' THEN
    queries := format('VALUES (%s)', array_to_string(any_fixed, '), (')) || queries;
  END IF;
  RETURN NULLIF(array_to_string(queries, ' UNION ALL '), '');
END $$;

-- Bring trigger functions and cascade_reach in line with the rules. Where nothing follows from a change this takes no lock
-- on any table. Otherwise it waits for the writers of the sources, as CREATE TRIGGER does: one that began under the old
-- rules must have ended before values are cached under the new ones. What was cached before is void.
CREATE FUNCTION fraiseql_cache.compile_cascades() RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  now_reached fraiseql_cache.cascade_reach[];
  touched text[];
  stale fraiseql_cache.watched[];
  feeding fraiseql_cache.watched;
  operation text;
BEGIN
  IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
    RAISE EXCEPTION 'cascade rules can only be changed in a READ COMMITTED transaction, which sees the rules of others'
      USING ERRCODE = 'active_sql_transaction';
  END IF;
  PERFORM pg_advisory_xact_lock(hashtext('fraiseql_cache.watch'));
  now_reached := ARRAY(SELECT c FROM fraiseql_cache.cascade_closure() c);
  WITH gone AS (
    DELETE FROM fraiseql_cache.cascade_reach r WHERE NOT EXISTS (SELECT FROM unnest(now_reached) n WHERE n = r) RETURNING r.target
  )
  SELECT array_agg(DISTINCT g.target) INTO touched FROM gone g;
  WITH added AS (
    INSERT INTO fraiseql_cache.cascade_reach SELECT n.* FROM unnest(now_reached) n ON CONFLICT DO NOTHING RETURNING target
  )
  SELECT array_agg(DISTINCT a.target) || touched INTO touched FROM added a;

  stale := ARRAY(SELECT w FROM fraiseql_cache.watched w JOIN pg_class c ON c.oid = w.relation
                   JOIN pg_proc p ON p.oid = to_regprocedure(format('fraiseql_cache.touch_%s_update()', w.id))
                  WHERE p.prosrc <> fraiseql_cache.touch_source(w, 'update') ORDER BY w.relation::oid);
  BEGIN
    FOREACH feeding IN ARRAY stale LOOP
      EXECUTE format('LOCK TABLE ONLY %s IN SHARE ROW EXCLUSIVE MODE', feeding.relation);
      touched := touched || feeding.domain || ARRAY(SELECT r.target FROM fraiseql_cache.cascade_reach r WHERE r.source = feeding.domain);
    END LOOP;
    FOREACH feeding IN ARRAY stale LOOP
      FOREACH operation IN ARRAY fraiseql_cache.trigger_kinds(feeding.relation) LOOP
        PERFORM fraiseql_cache.make_trigger_function(feeding, operation);
      END LOOP;
    END LOOP;
  EXCEPTION WHEN insufficient_privilege THEN
    RAISE EXCEPTION 'the cascade rules cannot be compiled into the triggers of % (%)', feeding.relation, SQLERRM
      USING ERRCODE = 'insufficient_privilege', HINT = 'Change them as the role that owns these triggers'' functions: it is the one that called fraiseql_cache.watch().';
  END;
  IF touched IS NULL THEN
    RETURN false;
  END IF;
  PERFORM fraiseql_cache.touch_domains(touched);
  IF EXISTS (SELECT FROM fraiseql_cache.cascade_edge e WHERE e.free_tag IS NOT NULL) THEN
    PERFORM fraiseql_cache.touch(ARRAY['@*']);
  END IF;
  RETURN true;
END $$;

CREATE FUNCTION fraiseql_cache.cascades_changed() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  -- A client that writes the same rules at every start waits for nobody.
  -- One expression each, because it is planned as a whole and an operation has not got all of these tables.
  IF TG_OP = 'INSERT' THEN
    IF NOT EXISTS (SELECT FROM new_rows) THEN
      RETURN NULL;
    END IF;
  ELSIF TG_OP = 'DELETE' THEN
    IF NOT EXISTS (SELECT FROM old_rows) THEN
      RETURN NULL;
    END IF;
  ELSIF TG_OP = 'UPDATE' THEN
    IF NOT EXISTS (SELECT n.* FROM new_rows n EXCEPT SELECT o.* FROM old_rows o) AND NOT EXISTS (SELECT o.* FROM old_rows o EXCEPT SELECT n.* FROM new_rows n) THEN
      RETURN NULL;
    END IF;
  END IF;
  PERFORM fraiseql_cache.compile_cascades();
  RETURN NULL;
END $$;

DO $$
DECLARE
  rules text;
BEGIN
  FOREACH rules IN ARRAY ARRAY['cascade_rules', 'cascade_detail'] LOOP
    EXECUTE format('CREATE TRIGGER compile_insert AFTER INSERT ON fraiseql_cache.%I REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION fraiseql_cache.cascades_changed()', rules);
    EXECUTE format('CREATE TRIGGER compile_update AFTER UPDATE ON fraiseql_cache.%I REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION fraiseql_cache.cascades_changed()', rules);
    EXECUTE format('CREATE TRIGGER compile_delete AFTER DELETE ON fraiseql_cache.%I REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION fraiseql_cache.cascades_changed()', rules);
    EXECUTE format('CREATE TRIGGER compile_truncate AFTER TRUNCATE ON fraiseql_cache.%I FOR EACH STATEMENT EXECUTE FUNCTION fraiseql_cache.cascades_changed()', rules);
    EXECUTE format('ALTER TABLE fraiseql_cache.%I ENABLE ALWAYS TRIGGER compile_insert, ENABLE ALWAYS TRIGGER compile_update,
      ENABLE ALWAYS TRIGGER compile_delete, ENABLE ALWAYS TRIGGER compile_truncate', rules);
  END LOOP;
END $$;
