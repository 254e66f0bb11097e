-- What every exchange begins with, in one text: a line of fence, incarnation, horizon and server time, then a line
-- per tag touched since the caller's last fence, which is given as the snapshot it was. A function, so that the probes
-- below are planned once a session with settings of their own: a sequential or bitmap scan chosen while the log was empty
-- would be kept when it is not.
-- (Up to PostgreSQL 17 a scan that is switched off costs so much on paper that every call would be compiled: 50 ms. Hence
-- no jit.)
CREATE FUNCTION fraiseql_cache.header(p_since pg_snapshot, p_most integer) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $$
DECLARE
  since_lo bigint := pg_snapshot_xmin(p_since)::text::bigint;
  since_hi bigint := pg_snapshot_xmax(p_since)::text::bigint;
  since_open bigint[];
  head text;
  began text; -- beyond the last fence
  settled text; -- stands for deleted rows that the last fence listed as open
  ended text; -- open then
  begun_count bigint; settled_count bigint; ended_count bigint;
  rewatched text; -- told also where the rest is too much to be listed
BEGIN
  SELECT concat_ws(' ', pg_current_snapshot(), i.id, i.horizon, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) INTO head
    FROM fraiseql_cache.current_incarnation i;
  IF head IS NULL THEN
    RETURN NULL;
  END IF;

  SELECT string_agg(concat(l.xid, CASE WHEN l.settled THEN '+' ELSE ' ' END, l.tag), E'\n'), count(*) INTO began, begun_count
    FROM (SELECT l.xid, l.settled, l.tag FROM fraiseql_cache.log l WHERE l.xid >= since_hi ORDER BY l.xid LIMIT p_most) l;
  IF since_lo < since_hi THEN
    since_open := ARRAY(SELECT x::text::bigint FROM pg_snapshot_xip(p_since) AS x);
    SELECT string_agg(concat(l.xid, '+', l.tag), E'\n'), count(*) INTO settled, settled_count
      FROM (SELECT l.xid, l.tag FROM fraiseql_cache.log l WHERE l.settled AND l.xid >= since_lo AND l.xid < since_hi ORDER BY l.xid LIMIT p_most) l;
    SELECT string_agg(concat(l.xid, CASE WHEN l.settled THEN '+' ELSE ' ' END, l.tag), E'\n'), count(*) INTO ended, ended_count
      FROM (SELECT l.xid, l.settled, l.tag FROM unnest(since_open) AS o (xid)
              CROSS JOIN LATERAL (SELECT l.* FROM fraiseql_cache.log l WHERE l.xid = o.xid ORDER BY l.xid LIMIT p_most) l LIMIT p_most) l;
  END IF;
  IF p_most <= GREATEST(begun_count, settled_count, ended_count) THEN
    SELECT concat(l.xid, '+', l.tag) INTO rewatched FROM fraiseql_cache.log l
     WHERE l.tag = fraiseql_cache.watching_tag() AND l.xid >= since_lo AND (l.xid >= since_hi OR l.settled OR l.xid = ANY (since_open)) ORDER BY l.tag DESC, l.xid DESC LIMIT 1;
  END IF;
  -- An absent part leaves no empty line.
  RETURN concat_ws(E'\n', head, began, settled, ended, rewatched);
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
