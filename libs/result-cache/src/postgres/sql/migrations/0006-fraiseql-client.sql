-- What FraiseQL's Python client calls: setup_table_invalidation, domain_version, cascade_rules.

-- A write to the source counts as a write to the target. These three columns are what the client knows: what rules can say
-- beyond stands in cascade_detail (see 0008), and a rule of the type 'detailed' says no more than its details do.
CREATE TABLE fraiseql_cache.cascade_rules (
  source_domain text NOT NULL,
  target_domain text NOT NULL,
  rule_type     text NOT NULL DEFAULT 'invalidate',
  PRIMARY KEY (source_domain, target_domain)
);

-- What follows from the rules: the domains that a write to a source reaches, over each of the targets of its own rules.
-- Written by compile_cascades, with the trigger functions that agree with it.
CREATE TABLE fraiseql_cache.cascade_reach (
  source text    NOT NULL,
  via    text    NOT NULL,
  target text    NOT NULL,
  depth  integer NOT NULL,
  -- Touched with every cascade from this source to this target, whatever rows it is about: "post.@user=*".
  tag    text COLLATE "C" NOT NULL,
  PRIMARY KEY (source, via, target)
);
CREATE INDEX cascade_reach_target_idx ON fraiseql_cache.cascade_reach (target);

-- Tenants known so far, for the rows of domain_version: a view cannot answer for a tenant it has never heard of. No
-- writer touches this table (the log names tenants as well); it is filled when a table is set up and by compaction.
CREATE TABLE fraiseql_cache.tenant (
  tenant_id text COLLATE "C" PRIMARY KEY
);

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
    -- Whose rows a cascade is about is not told.
    UNION SELECT r.tag FROM fraiseql_cache.cascade_reach r WHERE r.target = p_domain
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

CREATE FUNCTION fraiseql_cache.setup_relation_invalidation(p_relation regclass, p_domain text, p_tenant_column text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  tenant name := (SELECT a.attname FROM pg_attribute a
                   WHERE a.attrelid = p_relation AND a.attname = p_tenant_column AND a.attnum > 0 AND NOT a.attisdropped);
BEGIN
  IF p_tenant_column IS NOT NULL AND tenant IS NULL THEN
    -- The client names tenant_id whatever the table. Without it every write counts for every tenant, which is safe.
    RAISE NOTICE 'table % has no column "%": a write to it counts for every tenant', p_relation, p_tenant_column;
  END IF;
  -- A client that uses nothing but domain_version still needs to notice when the log is lost.
  PERFORM fraiseql_cache.ensure_incarnation();
  -- Before the triggers, because creating them locks writers out until the end of the transaction.
  IF tenant IS NOT NULL AND has_column_privilege(p_relation, tenant, 'SELECT') THEN
    EXECUTE format('INSERT INTO fraiseql_cache.tenant (tenant_id) SELECT DISTINCT r.%I::text FROM %s r WHERE octet_length(r.%1$I::text) <= 200
                    ON CONFLICT DO NOTHING', tenant, p_relation);
  END IF;
  PERFORM fraiseql_cache.watch(p_relation, COALESCE(p_domain, fraiseql_cache.domain_of(p_relation)), tenant::text);
END $$;

-- The call FraiseQL's Python client makes; without a domain, the table's name gives it.
CREATE FUNCTION fraiseql_cache.setup_table_invalidation(table_name text, domain_name text DEFAULT NULL, tenant_column text DEFAULT NULL) RETURNS void
LANGUAGE sql VOLATILE AS $$
  -- No pinned search_path: the caller's decides which table an unqualified name means.
  SELECT fraiseql_cache.setup_relation_invalidation(table_name::regclass, domain_name, tenant_column);
$$;
