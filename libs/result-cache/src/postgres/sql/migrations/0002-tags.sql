-- How a tag is written. Triggers and readers use these functions and nothing else, so both sides always agree.
-- "." "=" "*" are structure, "," joins the values of a composite key, "%" escapes, and a first character tells what kind
-- of tag it is: "@" a free one (or, in a value, a digest), "!" one key, "~" the keys that match a pattern (or, as a
-- tenant, no tenant: NULL).

CREATE FUNCTION fraiseql_cache.tag_text(value text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE
  -- A value of any length is accepted: a long one must never make the application's own INSERT fail on an index limit.
  WHEN octet_length(value) > 200 THEN '@' || encode(sha256(convert_to(value, 'UTF8')), 'hex')
  WHEN value !~ E'[%.=*@!~,\n]' THEN value
  ELSE replace(replace(replace(replace(replace(replace(replace(replace(replace(value,
         '%', '%25'), '.', '%2E'), '=', '%3D'), '*', '%2A'), '@', '%40'), '!', '%21'), '~', '%7E'), ',', '%2C'), E'\n', '%0A')
END;

-- What tag_text was given; NULL for a digest, which cannot be read back.
CREATE FUNCTION fraiseql_cache.untag_text(encoded text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE WHEN NOT starts_with(encoded, '@') THEN
  replace(replace(replace(replace(replace(replace(replace(replace(replace(encoded,
    '%0A', E'\n'), '%2C', ','), '%7E', '~'), '%21', '!'), '%40', '@'), '%2A', '*'), '%3D', '='), '%2E', '.'), '%25', '%')
END;

CREATE FUNCTION fraiseql_cache.domain_tag(domain text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN fraiseql_cache.tag_text(domain);

CREATE FUNCTION fraiseql_cache.free_tag(name text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN '@' || fraiseql_cache.tag_text(name);

-- Which tables are watched, and how, has changed: processes look again. No free tag begins like this, since "!" is escaped.
CREATE FUNCTION fraiseql_cache.watching_tag() RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN '@!watching';

-- Everything of a column tag but its value: "user.id=", "order_line.order_id,line=".
CREATE FUNCTION fraiseql_cache.column_tag_prefix(domain text, attributes text[]) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
  written text[];
  attribute text;
BEGIN
  FOREACH attribute IN ARRAY attributes LOOP
    written := written || fraiseql_cache.tag_text(attribute);
  END LOOP;
  RETURN fraiseql_cache.tag_text(domain) || '.' || array_to_string(written, ',') || '=';
END $$;

-- How values of a type are compared: only where equality of text is equality of values may a column be a tag.
CREATE FUNCTION fraiseql_cache.tag_kind(type oid, collation_id oid) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
  RETURN CASE
    WHEN type IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) THEN 'integer'
    WHEN type = 'uuid'::regtype THEN 'uuid'
    WHEN type IN ('text'::regtype, 'varchar'::regtype)
     AND COALESCE((SELECT c.collisdeterministic FROM pg_collation c WHERE c.oid = collation_id), true) THEN 'text'
  END;
END $$;

-- A value as a reader has it, in the form the column's own output would have; NULL where it is no such value.
CREATE FUNCTION fraiseql_cache.tag_value(kind text, value text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE kind
  WHEN 'integer' THEN CASE WHEN value ~ '^\s*[-+]?[0-9]{1,18}\s*$' THEN value::bigint::text END
  WHEN 'uuid' THEN CASE WHEN value ~* '^[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}$' THEN value::uuid::text END
  WHEN 'text' THEN fraiseql_cache.tag_text(value)
END;

-- Append tags for the running transaction. The only way in for anything but the triggers.
CREATE FUNCTION fraiseql_cache.touch(tags text[]) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  INSERT INTO fraiseql_cache.log (tag, xid, operation, at, application)
  SELECT DISTINCT t.tag, pg_current_xact_id()::text::bigint, 'x'::"char", clock_timestamp(), current_setting('application_name')
    FROM unnest(tags) AS t (tag) WHERE t.tag IS NOT NULL ORDER BY 1
  ON CONFLICT DO NOTHING;
$$;
