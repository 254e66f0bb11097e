-- Which migrations were applied here; the extension's script fills it too, so that one check serves both.
CREATE TABLE fraiseql_cache.migration (
  name       text PRIMARY KEY,
  applied_at timestamptz NOT NULL DEFAULT now()
);

-- The invalidation log: writers append (tag, transaction id), readers ask what was appended since a snapshot.
-- A log, not a counter per domain, because writers of one domain would queue on the counter's row until commit.

CREATE UNLOGGED TABLE fraiseql_cache.log (
  tag         text COLLATE "C" NOT NULL,
  xid         bigint           NOT NULL,
  -- This row stands for deleted ones of the same tag as well (see compact_log).
  settled     boolean          NOT NULL DEFAULT false,
  -- Who touched it. Written on a domain's own row only, which every write has anyway, so that answering
  -- "why was this stale?" costs writers no further row and no further index entry.
  relation    oid,
  operation   "char",
  at          timestamptz,
  application text,
  PRIMARY KEY (tag, xid)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);

COMMENT ON COLUMN fraiseql_cache.log.operation IS 'i(nsert), u(pdate), d(elete), t(runcate), m(oved between partitions), x = explicit';

CREATE INDEX log_xid_idx ON fraiseql_cache.log (xid);
CREATE INDEX log_settled_tag_idx ON fraiseql_cache.log (tag, xid) WHERE settled;
CREATE INDEX log_settled_xid_idx ON fraiseql_cache.log (xid) WHERE settled;

-- One row that dies with the UNLOGGED tables. Whoever finds another id than before knows that the log was lost.
CREATE UNLOGGED TABLE fraiseql_cache.incarnation (
  one               boolean PRIMARY KEY DEFAULT true CHECK (one),
  id                uuid    NOT NULL DEFAULT gen_random_uuid(),
  -- Nothing is known about transactions below: an entry whose fence reaches below it is void.
  horizon           bigint  NOT NULL,
  system_identifier bigint  NOT NULL,
  database_oid      oid     NOT NULL,
  -- The run of the server it was made in. Between two runs the files may have been replaced by older ones, in which
  -- transaction ids, and this very row, are the same again.
  started           timestamptz NOT NULL DEFAULT pg_postmaster_start_time(),
  -- The transaction that wrote this row. A row loaded from a dump was written by another one: its xmin tells.
  born              xid     NOT NULL DEFAULT pg_current_xact_id()::xid
);

-- The incarnation, if it is of this run of this database. Checked with every exchange, because a process that was cut
-- off may be connected to something else when it comes back: a restored server, or a copy under the old name.
CREATE VIEW fraiseql_cache.current_incarnation AS
  SELECT i.id, i.horizon, i.system_identifier FROM fraiseql_cache.incarnation i
   WHERE i.xmin = i.born AND i.started = pg_postmaster_start_time()
     AND i.database_oid = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database());

CREATE UNLOGGED TABLE fraiseql_cache.horizon_sample (
  at     timestamptz PRIMARY KEY,
  oldest bigint NOT NULL -- the xmin of the snapshot taken then
);

-- Make sure there is a valid incarnation; called when a process starts, reconnects, or misses one in an answer.
CREATE FUNCTION fraiseql_cache.ensure_incarnation() RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  here record;
  found_id uuid;
BEGIN
  SELECT c.system_identifier, d.oid AS database_oid INTO here
    FROM pg_control_system() c, pg_database d WHERE d.datname = current_database();

  FOR attempt IN 1 .. 2 LOOP
    SELECT i.id INTO found_id FROM fraiseql_cache.current_incarnation i WHERE i.system_identifier = here.system_identifier;
    IF found_id IS NOT NULL THEN
      RETURN found_id;
    END IF;
    -- The second look is taken under the lock, by a statement of its own and so with a snapshot of its own.
    IF attempt = 1 THEN
      PERFORM pg_advisory_xact_lock(hashtext('fraiseql_cache.incarnation'));
    END IF;
  END LOOP;

  DELETE FROM fraiseql_cache.horizon_sample;
  DELETE FROM fraiseql_cache.incarnation;
  -- A transaction that ran when the old log was lost may still commit unlogged; all of them are below this horizon.
  INSERT INTO fraiseql_cache.incarnation (horizon, system_identifier, database_oid)
    VALUES (pg_snapshot_xmax(pg_current_snapshot())::text::bigint, here.system_identifier, here.database_oid)
    RETURNING id INTO found_id;
  RETURN found_id;
END $$;
COMMENT ON FUNCTION fraiseql_cache.ensure_incarnation() IS
  'Returns the current incarnation; starts a new one when the UNLOGGED tables were reset, came from a dump or a copy, or the server was restarted.';
