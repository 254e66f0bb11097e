-- What follows from cascade rules for readers, for those who invalidate by hand, and for those who ask what happened.

-- The tags that a write cascades to: of any row of a domain, or of one that has these values.
CREATE FUNCTION fraiseql_cache.cascaded(p_domain text, p_values jsonb DEFAULT NULL) RETURNS TABLE (target text, depth integer, tag text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  edge record;
  placeholder text;
  value text;
BEGIN
  RETURN QUERY SELECT r.target, min(r.depth), v.tag FROM fraiseql_cache.cascade_reach r
    CROSS JOIN LATERAL (VALUES (fraiseql_cache.domain_tag(r.target)), (r.tag)) AS v (tag) WHERE r.source = p_domain GROUP BY r.target, v.tag;
  FOR edge IN SELECT e.* FROM fraiseql_cache.cascade_edge e WHERE e.source = p_domain AND (e.target_column IS NOT NULL OR e.free_tag IS NOT NULL) LOOP
    depth := 1;
    target := edge.target;
    IF edge.target_column IS NOT NULL THEN
      tag := fraiseql_cache.column_tag_prefix(edge.target, ARRAY[edge.target_column])
        || COALESCE(fraiseql_cache.cascade_value(p_domain, edge.source_column, p_values ->> edge.source_column), '*');
    ELSE
      tag := edge.free_tag;
      FOR placeholder IN SELECT m.found[1] FROM regexp_matches(edge.free_tag, '\{([^{}]+)\}', 'g') AS m (found) LOOP
        value := fraiseql_cache.untag_text(fraiseql_cache.cascade_value(p_domain, placeholder, p_values ->> placeholder));
        tag := replace(tag, '{' || placeholder || '}', value);
      END LOOP;
      tag := COALESCE(fraiseql_cache.free_tag(tag), '@*');
    END IF;
    RETURN NEXT;
  END LOOP;
END $$;

-- A column's value as triggers of a domain's tables write it; NULL where it is not known, or they do not agree.
CREATE FUNCTION fraiseql_cache.cascade_value(p_domain text, p_column text, p_value text) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN count(*) = count(v.value) AND count(DISTINCT v.value) = 1 THEN min(v.value) END
    FROM fraiseql_cache.watched w LEFT JOIN pg_attribute a ON a.attrelid = w.relation AND a.attname = p_column AND NOT a.attisdropped
   CROSS JOIN LATERAL (SELECT fraiseql_cache.tag_value(fraiseql_cache.tag_kind(a.atttypid, a.attcollation), p_value) AS value) v
   WHERE w.domain = p_domain;
$$;

-- Whether the values of two domains' columns are written alike in all their tables, so that a tag of one names the other.
CREATE FUNCTION fraiseql_cache.are_linked(p_source text, p_source_column text, p_target text, p_target_column text) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT count(DISTINCT s.side) = 2 AND count(*) = count(s.kind) AND count(DISTINCT s.kind) = 1 FROM (
    SELECT d.side, fraiseql_cache.tag_kind(a.atttypid, a.attcollation) AS kind
      FROM (VALUES (1, p_source, p_source_column), (2, p_target, p_target_column)) AS d (side, domain, name)
      JOIN fraiseql_cache.watched w ON w.domain = d.domain
      LEFT JOIN pg_attribute a ON a.attrelid = w.relation AND a.attname = d.name AND NOT a.attisdropped) s;
$$;

-- What an entry that depends on some rows of a domain needs beside their tag: that of each source whose writes may show in
-- such rows. Not of one that the entry names itself, nor where a rule says which rows by the very column (and no other
-- rule leads there): its triggers touch the rows' own tag.
CREATE FUNCTION fraiseql_cache.cascade_tags(p_domain text, p_columns text[], p_named text[]) RETURNS text[]
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN ARRAY(
    SELECT DISTINCT r.tag FROM fraiseql_cache.cascade_reach r
     WHERE r.target = p_domain AND (r.source = p_domain OR r.source <> ALL (p_named))
       AND (cardinality(p_columns) <> 1
         OR EXISTS (SELECT FROM fraiseql_cache.cascade_reach o WHERE o.source = r.source AND o.target = p_domain AND o.via <> p_domain)
         OR EXISTS (SELECT FROM fraiseql_cache.cascade_edge e WHERE e.source = r.source AND e.target = p_domain
                       AND (e.target_column IS DISTINCT FROM p_columns[1] OR NOT fraiseql_cache.are_linked(r.source, e.source_column, p_domain, e.target_column)))));
END $$;

-- Whatever keeps a source from being tracked keeps what it cascades to from it as well.
CREATE FUNCTION fraiseql_cache.audit() RETURNS TABLE (relation regclass, domain text, problem text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN QUERY
  WITH found AS MATERIALIZED (SELECT a.* FROM fraiseql_cache.audit_tables() a)
  SELECT f.relation, f.domain, f.problem FROM found f
  UNION ALL
  SELECT DISTINCT f.relation, r.target, format('writes to the domain "%s" cascade here, and %s', f.domain, f.problem)
    FROM found f JOIN fraiseql_cache.cascade_reach r ON r.source = f.domain WHERE f.problem IS NOT NULL AND r.target <> f.domain
  UNION ALL
  SELECT DISTINCT w.relation, x.target, 'cascade rules were changed while the triggers on their own tables were off; SELECT fraiseql_cache.compile_cascades()'
    FROM ((SELECT * FROM fraiseql_cache.cascade_closure() EXCEPT SELECT * FROM fraiseql_cache.cascade_reach)
          UNION ALL (SELECT * FROM fraiseql_cache.cascade_reach EXCEPT SELECT * FROM fraiseql_cache.cascade_closure())) x
    JOIN fraiseql_cache.watched w ON w.domain = x.source;
END $$;

-- The watched domains with what rules may name: {"user": {"key": ["id"], "columns": {"id": "integer"}}}. Columns that not all
-- tables of a domain have are left out.
CREATE FUNCTION fraiseql_cache.cascade_catalogue() RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  WITH tables AS (
    SELECT w.domain, w.relation FROM fraiseql_cache.watched w JOIN pg_class c ON c.oid = w.relation
  ), columns AS (
    SELECT t.domain, a.attname AS name, min(fraiseql_cache.condition_kind(t.relation, a.attname)) AS kind
      FROM tables t JOIN pg_attribute a ON a.attrelid = t.relation AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated <> 'v'
     GROUP BY t.domain, a.attname HAVING count(*) = (SELECT count(*) FROM tables o WHERE o.domain = t.domain)
  ), keys AS (
    SELECT DISTINCT t.domain, (SELECT jsonb_agg(a.attname ORDER BY a.attnum) FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
                                WHERE i.indrelid = t.relation AND i.indisprimary) AS key FROM tables t
  )
  SELECT COALESCE(jsonb_object_agg(d.domain, jsonb_build_object(
           'key', (SELECT CASE WHEN count(*) = 1 THEN COALESCE(jsonb_agg(k.key) -> 0, '[]') ELSE '[]' END FROM keys k WHERE k.domain = d.domain),
           'columns', (SELECT COALESCE(jsonb_object_agg(c.name, c.kind), '{}') FROM columns c WHERE c.domain = d.domain))), '{}')
    FROM (SELECT DISTINCT t.domain FROM tables t) d;
$$;

-- Which of these rules are not there like this yet: [{"name", "source", "pattern", "target", "source_column", "target_column",
-- "free_tag", "condition", "columns", "max_depth"}]. For any role, so that one which may change nothing can see that it need not.
CREATE FUNCTION fraiseql_cache.missing_cascades(p_rules jsonb) RETURNS SETOF fraiseql_cache.cascade_detail
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT 0, COALESCE(d.name, ''), d.source, d.pattern, d.target, d.source_column, d.target_column, d.free_tag, NULLIF(d.condition, '{}'), d.columns, d.max_depth
    FROM jsonb_to_recordset(p_rules) AS d (name text, source text, pattern text, target text, source_column text, target_column text, free_tag text,
                                           condition jsonb, columns text[], max_depth integer)
   WHERE NOT EXISTS (
     SELECT FROM fraiseql_cache.cascade_detail o WHERE o.name = COALESCE(d.name, '') AND o.source_domain = d.source AND o.pattern = d.pattern
        AND (o.target_domain, o.source_column, o.target_column, o.free_tag, o.condition, o.columns, o.max_depth)
            IS NOT DISTINCT FROM (d.target, d.source_column, d.target_column, d.free_tag, NULLIF(d.condition, '{}'), d.columns, d.max_depth))
   ORDER BY d.source, d.pattern, d.name;
$$;

-- Rules of a name that are not among these. For any role, as above.
CREATE FUNCTION fraiseql_cache.surplus_cascades(p_rules jsonb, p_name text) RETURNS SETOF integer
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT o.id FROM fraiseql_cache.cascade_detail o
   WHERE o.name = p_name AND NOT EXISTS (
     SELECT FROM jsonb_to_recordset(p_rules) AS d (name text, source text, pattern text)
      WHERE COALESCE(d.name, '') = o.name AND d.source = o.source_domain AND d.pattern = o.pattern);
$$;

-- Add or change rules, and with p_replace remove all others of that name. Those that are there already are left alone, and
-- then nobody waits for anybody. Runs as its caller, who must be allowed to write the two tables.
CREATE FUNCTION fraiseql_cache.register_cascades(p_rules jsonb, p_replace text DEFAULT NULL) RETURNS integer
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  wanted fraiseql_cache.cascade_detail[];
  surplus integer[];
BEGIN
  IF NOT EXISTS (SELECT FROM fraiseql_cache.missing_cascades(p_rules)) AND NOT EXISTS (SELECT FROM fraiseql_cache.surplus_cascades(p_rules, p_replace)) THEN
    RETURN 0;
  END IF;
  -- One after the other, so that of two who replace at once the later one's rules are left, and not some of both.
  PERFORM pg_advisory_xact_lock(hashtext('fraiseql_cache.watch'));
  wanted := ARRAY(SELECT m FROM fraiseql_cache.missing_cascades(p_rules) m);
  surplus := ARRAY(SELECT u FROM fraiseql_cache.surplus_cascades(p_rules, p_replace) u);
  IF wanted <> '{}' THEN
    INSERT INTO fraiseql_cache.cascade_rules (source_domain, target_domain, rule_type)
      SELECT DISTINCT w.source_domain, w.target_domain, 'detailed' FROM unnest(wanted) w WHERE w.target_domain IS NOT NULL ORDER BY 1, 2 ON CONFLICT DO NOTHING;
    INSERT INTO fraiseql_cache.cascade_detail AS o (name, source_domain, pattern, target_domain, source_column, target_column, free_tag, condition, columns, max_depth)
      SELECT w.name, w.source_domain, w.pattern, w.target_domain, w.source_column, w.target_column, w.free_tag, w.condition, w.columns, w.max_depth FROM unnest(wanted) w
      ON CONFLICT ON CONSTRAINT cascade_detail_name_source_domain_pattern_key DO UPDATE SET target_domain = EXCLUDED.target_domain, source_column = EXCLUDED.source_column,
        target_column = EXCLUDED.target_column, free_tag = EXCLUDED.free_tag, condition = EXCLUDED.condition, columns = EXCLUDED.columns, max_depth = EXCLUDED.max_depth;
  END IF;
  IF surplus <> '{}' THEN
    DELETE FROM fraiseql_cache.cascade_detail d WHERE d.id = ANY (surplus);
    DELETE FROM fraiseql_cache.cascade_rules r WHERE r.rule_type = 'detailed'
       AND NOT EXISTS (SELECT FROM fraiseql_cache.cascade_detail d WHERE d.source_domain = r.source_domain AND d.target_domain = r.target_domain);
  END IF;
  RETURN cardinality(wanted) + cardinality(surplus);
END $$;

-- Remove rules by any of these; returns how many.
CREATE FUNCTION fraiseql_cache.remove_cascades(p_name text, p_source text, p_target text, p_pattern text) RETURNS integer
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  gone integer;
  plain integer;
BEGIN
  -- After whoever is just adding rules: a pair that has no details left is not one that is about to get some.
  PERFORM pg_advisory_xact_lock(hashtext('fraiseql_cache.watch'));
  DELETE FROM fraiseql_cache.cascade_detail d
   WHERE (p_name IS NULL OR d.name = p_name) AND (p_source IS NULL OR d.source_domain = p_source)
     AND (p_target IS NULL OR d.target_domain = p_target) AND (p_pattern IS NULL OR d.pattern = p_pattern);
  GET DIAGNOSTICS gone = ROW_COUNT;
  DELETE FROM fraiseql_cache.cascade_rules r WHERE r.rule_type <> 'detailed' AND p_name IS NULL
     AND (p_source IS NULL OR r.source_domain = p_source) AND (p_target IS NULL OR r.target_domain = p_target) AND (p_pattern IS NULL OR r.target_domain = p_pattern)
     AND NOT EXISTS (SELECT FROM fraiseql_cache.cascade_detail d WHERE d.source_domain = r.source_domain AND d.target_domain = r.target_domain);
  GET DIAGNOSTICS plain = ROW_COUNT;
  -- Where details of others are left, only the plain rule goes.
  WITH kept AS (
    UPDATE fraiseql_cache.cascade_rules r SET rule_type = 'detailed' WHERE r.rule_type <> 'detailed' AND p_name IS NULL
       AND (p_source IS NULL OR r.source_domain = p_source) AND (p_target IS NULL OR r.target_domain = p_target) AND (p_pattern IS NULL OR r.target_domain = p_pattern) RETURNING 1
  )
  SELECT plain + count(*) INTO plain FROM kept;
  DELETE FROM fraiseql_cache.cascade_rules r WHERE r.rule_type = 'detailed'
     AND NOT EXISTS (SELECT FROM fraiseql_cache.cascade_detail d WHERE d.source_domain = r.source_domain AND d.target_domain = r.target_domain);
  RETURN gone + plain;
END $$;

-- The rules as they are, whoever asks.
CREATE FUNCTION fraiseql_cache.cascade_list() RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT COALESCE(jsonb_agg(to_jsonb(e) ORDER BY e.source, e.pattern, e.name), '[]') FROM fraiseql_cache.cascade_edge e;
$$;
