-- What every exchange begins with, in one text: a line of fence, incarnation, horizon and server time, then a line
-- per tag touched since the caller's last fence. A function, so that the probes below are planned once a session with
-- settings of their own: a sequential or bitmap scan chosen while the log was empty would be kept when it is not.
-- (Up to PostgreSQL 17 a scan that is switched off costs so much on paper that every call would be compiled: 50 ms. Hence
-- no jit.)
CREATE FUNCTION fraiseql_cache.header(p_lo bigint, p_hi bigint, p_open bigint[], p_most integer) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $$
DECLARE
  head text;
  began text; -- beyond the last fence
  settled text; -- stands for deleted rows that the last fence listed as open
  ended text; -- open then
BEGIN
  SELECT concat_ws(' ', pg_current_snapshot(), i.id, i.horizon, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) INTO head
    FROM fraiseql_cache.current_incarnation i;
  IF head IS NULL THEN
    RETURN NULL;
  END IF;

  SELECT string_agg(concat(l.xid, CASE WHEN l.settled THEN '+' ELSE ' ' END, l.tag), E'\n') INTO began
    FROM (SELECT l.xid, l.settled, l.tag FROM fraiseql_cache.log l WHERE l.xid >= p_hi ORDER BY l.xid LIMIT p_most) l;
  IF p_lo < p_hi THEN
    SELECT string_agg(concat(l.xid, '+', l.tag), E'\n') INTO settled
      FROM (SELECT l.xid, l.tag FROM fraiseql_cache.log l WHERE l.settled AND l.xid >= p_lo AND l.xid < p_hi ORDER BY l.xid LIMIT p_most) l;
    SELECT string_agg(concat(l.xid, CASE WHEN l.settled THEN '+' ELSE ' ' END, l.tag), E'\n') INTO ended
      FROM (SELECT l.xid, l.settled, l.tag FROM unnest(p_open) AS o (xid)
              CROSS JOIN LATERAL (SELECT l.* FROM fraiseql_cache.log l WHERE l.xid = o.xid ORDER BY l.xid LIMIT p_most) l LIMIT p_most) l;
  END IF;
  -- An absent part leaves no empty line.
  RETURN concat_ws(E'\n', head, began, settled, ended);
END $$;

-- Whether nothing that any of the tags names became visible after the fence: one probe per question, because one
-- condition with ORs becomes a scan. Used for rows fenced before a process began to listen.
CREATE FUNCTION fraiseql_cache.untouched(p_tags text[], p_lo bigint, p_hi bigint, p_open bigint[]) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $$
DECLARE
  this text;
  newest bigint;
BEGIN
  FOREACH this IN ARRAY p_tags LOOP
    SELECT l.xid INTO newest FROM fraiseql_cache.log l WHERE l.tag = this ORDER BY l.tag DESC, l.xid DESC LIMIT 1;
    IF newest >= p_hi THEN
      RETURN false;
    END IF;
    IF p_lo < p_hi THEN
      PERFORM FROM fraiseql_cache.log l WHERE l.settled AND l.tag = this AND l.xid >= p_lo ORDER BY l.tag, l.xid LIMIT 1;
      IF FOUND THEN
        RETURN false;
      END IF;
      PERFORM FROM unnest(p_open) AS o (xid) CROSS JOIN LATERAL
        (SELECT FROM fraiseql_cache.log l WHERE l.tag = this AND l.xid = o.xid LIMIT 1) l LIMIT 1;
      IF FOUND THEN
        RETURN false;
      END IF;
    END IF;
  END LOOP;
  RETURN true;
END $$;

-- The tag of column values, encoded by the types of the watched columns; NULL where a value cannot narrow, and the
-- caller falls back to the domain's tag. In plpgsql, whose plans last for a session: a fill may ask hundreds of times.
CREATE FUNCTION fraiseql_cache.column_tag(p_domain text, p_values jsonb) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  source record;
  names text[] := ARRAY(SELECT jsonb_object_keys(p_values));
  tag text;
  written text;
BEGIN
  FOR source IN
    SELECT w.relation, (SELECT ARRAY(SELECT jsonb_array_elements_text(g.columns))
                          FROM jsonb_array_elements(w.tag_columns) AS g (columns)
                         WHERE jsonb_array_length(g.columns) = cardinality(names) AND g.columns ?& names LIMIT 1) AS columns
      FROM fraiseql_cache.watched w WHERE w.domain = p_domain
  LOOP
    SELECT fraiseql_cache.column_tag_prefix(p_domain, source.columns) || string_agg(v.text, ',' ORDER BY v.place) INTO written
      FROM (SELECT c.place, fraiseql_cache.tag_value(fraiseql_cache.tag_kind(a.atttypid, a.attcollation), p_values ->> c.name) AS text
              FROM unnest(source.columns) WITH ORDINALITY AS c (name, place)
              JOIN pg_attribute a ON a.attrelid = source.relation AND a.attname = c.name) v
    HAVING count(*) = count(v.text) AND count(*) = cardinality(names);
    -- Every table of the domain must agree: where one writes the value another way, no single tag covers it.
    IF written IS NULL OR written <> tag THEN
      RETURN NULL;
    END IF;
    tag := written;
  END LOOP;
  RETURN tag;
END $$;

-- The tenants that domain_version has rows for, and "global". Steps from one tag to the next: a probe per tenant, however
-- often each of them wrote.
CREATE FUNCTION fraiseql_cache.tenants() RETURNS TABLE (tenant_id text)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $$
  WITH RECURSIVE prefixes AS (
    -- ">" is the character after "=": every tag with the prefix sorts between the two.
    SELECT DISTINCT p.prefix, left(p.prefix, -1) || '>' AS bound
      FROM fraiseql_cache.watched w CROSS JOIN LATERAL fraiseql_cache.tenant_tag_prefix(w) AS p (prefix) WHERE p.prefix IS NOT NULL
  ), step AS (
    SELECT p.prefix, p.bound, (SELECT min(l.tag) FROM fraiseql_cache.log l WHERE l.tag >= p.prefix AND l.tag < p.bound) AS tag FROM prefixes p
    UNION ALL
    SELECT s.prefix, s.bound, (SELECT min(l.tag) FROM fraiseql_cache.log l WHERE l.tag > s.tag AND l.tag < s.bound) FROM step s WHERE s.tag IS NOT NULL
  )
  SELECT 'global'
  UNION SELECT t.tenant_id FROM fraiseql_cache.tenant t
  UNION SELECT fraiseql_cache.untag_text(v.encoded) FROM step s CROSS JOIN LATERAL (SELECT substr(s.tag, length(s.prefix) + 1) AS encoded) v
         WHERE v.encoded NOT IN ('*', '~') AND NOT starts_with(v.encoded, '@');
$$;

-- A digest of everything the log holds for a tenant's rows of a domain. It never returns to an earlier value: a
-- transaction that commits is in the log from then on until compaction replaces it with a newer one, whose settled mark
-- no set from before that commit can hold (all older transactions had ended when it was set), or until the horizon
-- moves, which is in the digest too. A maximum of transaction ids would miss an older transaction that commits later.
CREATE FUNCTION fraiseql_cache.tenant_version(p_domain text, p_tenant text) RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $$
  WITH sources AS (
    SELECT p.prefix, fraiseql_cache.tag_value(fraiseql_cache.tag_kind(a.atttypid, a.attcollation), p_tenant) AS value
      FROM fraiseql_cache.watched w CROSS JOIN LATERAL fraiseql_cache.tenant_tag_prefix(w) AS p (prefix)
      LEFT JOIN pg_attribute a ON a.attrelid = w.relation AND a.attname = w.tenant_column AND NOT a.attisdropped
     WHERE w.domain = p_domain
  ), tags AS (
    -- Every touch of the domain counts where a table's rows cannot be told apart by tenant.
    SELECT fraiseql_cache.domain_tag(p_domain) AS tag WHERE p_tenant = 'global' OR EXISTS (SELECT FROM sources s WHERE s.prefix IS NULL)
    -- The tenant's own rows, rows not told whose, and rows of no tenant, which all of them may share.
    UNION SELECT s.prefix || v.encoded FROM sources s, unnest(ARRAY[s.value, '*', '~']) AS v (encoded)
  )
  SELECT hashtextextended(concat_ws(' ', (SELECT i.id FROM fraiseql_cache.incarnation i WHERE i.xmin = i.born),
                                         (SELECT i.horizon FROM fraiseql_cache.incarnation i WHERE i.xmin = i.born)), 0)
         # COALESCE(bit_xor(hashint8extended(l.xid, hashtextextended(l.tag, l.settled::integer))), 0)
    FROM tags t JOIN fraiseql_cache.log l ON l.tag = t.tag;
$$;

-- An opaque number per tenant and domain that changes with every commit that touches the domain's rows of that tenant,
-- and may change at other times (compaction). Under the tenant "global": with every commit that touches the domain at all.
CREATE VIEW fraiseql_cache.domain_version AS
  SELECT t.tenant_id, d.domain, fraiseql_cache.tenant_version(d.domain, t.tenant_id) AS version
    FROM (SELECT DISTINCT w.domain FROM fraiseql_cache.watched w) d CROSS JOIN fraiseql_cache.tenants() t;

-- FraiseQL compares tenant_id with text, or with a uuid parameter. For the second, its role needs this operator in sight:
-- ALTER ROLE … SET search_path = "$user", public, fraiseql_cache.
CREATE FUNCTION fraiseql_cache.tenant_is(tenant_id text, id uuid) RETURNS boolean
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN tenant_id = id::text;

CREATE OPERATOR fraiseql_cache.= (LEFTARG = text, RIGHTARG = uuid, FUNCTION = fraiseql_cache.tenant_is);
