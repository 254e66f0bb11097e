import { ResultCache, PostgresCache } from 'nestjs-result-cache';
import pg from 'pg';
import { settle } from '../support/caches.js';

/** What was found on one schema. */
export interface InferenceReport {
  /** Statements whose tables were found as PostgreSQL's locks show them, with these tables. */
  agreed: Map<string, readonly string[]>;
  /** Statements of which nobody can tell, and why. */
  unknown: Map<string, string>;
  /** How often a write to a table was followed by reads of all results. */
  writes: number;
  /** Differences. */
  problems: string[];
}

/**
 * Hold what is inferred about every view, materialized view and callable function of a schema against an oracle that knows
 * nothing of parse trees: the locks of a transaction that reads it. Then cache all of them, write to each table, and see that
 * exactly the results that depend on it are computed again. The database is spoilt by it.
 */
export async function checkInference(url: string): Promise<InferenceReport> {
  const pool = new pg.Pool({ connectionString: url, max: 2 });
  pool.on('error', () => undefined);
  const report: InferenceReport = { agreed: new Map(), unknown: new Map(), writes: 0, problems: [] };
  let store: PostgresCache | undefined;
  try {
    // A dump without data leaves them empty, and then they cannot be read at all.
    for (const statement of await names(pool, REFRESHES)) await pool.query(statement);
    const tables = await names(pool, TABLES);
    store = new PostgresCache({ connection: url, watch: tables.map((table) => ({ table, domain: table })) });
    await store.initialize();
    await settle(store);
    for (const sql of [...(await names(pool, RELATIONS)), ...(await names(pool, FUNCTIONS))]) {
      const { tables: found, unknown } = await store.inferences.tablesOf(sql);
      if (unknown !== null) {
        report.unknown.set(sql, unknown);
        continue;
      }
      const inferred = found.map(({ name }) => name).sort();
      const opened = await openedBy(pool, sql);
      if (inferred.join() === opened.join()) report.agreed.set(sql, inferred);
      else report.problems.push(`${sql}: inferred ${inferred.join(', ')}, opened ${opened.join(', ')}`);
    }
    await checkWrites(pool, store, tables, report);
  } finally {
    await store?.close();
    await pool.end();
  }
  return report;
}

async function checkWrites(
  pool: pg.Pool,
  store: PostgresCache,
  tables: string[],
  report: InferenceReport,
): Promise<void> {
  // So that a TRUNCATE touches one table and no other.
  for (const statement of await names(pool, FOREIGN_KEYS)) await pool.query(statement);
  await store.inferences.version();
  const cache = new ResultCache({ store, timeout: Infinity, maxValueBytes: 10_000_000 });
  const results = [...report.agreed].filter(([, read]) => read.every((name) => tables.includes(name)));
  const readAll = async (): Promise<string[]> => {
    const computed: string[] = [];
    for (const [sql] of results)
      await cache.getOrSet(
        sql,
        async () => {
          computed.push(sql);
          return (await pool.query(`SELECT count(*) FROM (${sql}) AS counted`)).rows as unknown[];
        },
        { domains: 'infer' },
      );
    await cache.drain();
    return computed;
  };
  await readAll();
  const dependent = results.filter(([, read]) => read.length > 0);
  for (const table of tables) {
    await readAll();
    await pool.query(`TRUNCATE ${table}`);
    report.writes++;
    const computed = new Set(await readAll());
    for (const [sql, read] of dependent)
      if (computed.has(sql) !== read.includes(table))
        report.problems.push(
          `${sql}: a write to ${table} ${computed.has(sql) ? 'made it void, though it does not read it' : 'was not noticed'}`,
        );
  }
  cache.stop();
}

async function openedBy(pool: pg.Pool, sql: string): Promise<string[]> {
  const client = await pool.connect();
  try {
    await client.query('BEGIN');
    await client.query(`SELECT * FROM (${sql}) AS read`);
    const { rows } = await client.query<{ name: string }>(OPENED);
    return rows.map(({ name }) => name);
  } finally {
    await client.query('ROLLBACK');
    client.release();
  }
}

async function names(pool: pg.Pool, sql: string): Promise<string[]> {
  return (await pool.query<{ name: string }>(sql)).rows.map(({ name }) => name);
}

const OWN = `n.nspname NOT IN ('pg_catalog', 'information_schema', 'fraiseql_cache', 'pg_toast')`;
const TABLES = `SELECT format('%I.%I', n.nspname, c.relname) AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p') AND NOT EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = c.oid) AND ${OWN} ORDER BY 1`;
const RELATIONS = `SELECT format('TABLE %I.%I', n.nspname, c.relname) AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p', 'v', 'm') AND ${OWN} ORDER BY 1`;
const FUNCTIONS = `SELECT format('SELECT * FROM %I.%I(%s)', n.nspname, p.proname,
    (SELECT string_agg(format('NULL::%s', format_type(t.oid, NULL)), ', ' ORDER BY t.place) FROM unnest(p.proargtypes) WITH ORDINALITY AS t (oid, place))) AS name
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
  WHERE p.prokind = 'f' AND ${OWN} AND p.prorettype <> 'trigger'::regtype AND p.provariadic = 0
    AND NOT EXISTS (SELECT FROM unnest(p.proargtypes) AS a (oid) JOIN pg_type y ON y.oid = a.oid WHERE y.typtype = 'p') ORDER BY 1`;
const REFRESHES = `SELECT format('REFRESH MATERIALIZED VIEW %s', c.oid::regclass) AS name FROM pg_class c WHERE c.relkind = 'm' ORDER BY c.oid`;
const FOREIGN_KEYS = `SELECT format('ALTER TABLE %s DROP CONSTRAINT IF EXISTS %I CASCADE', c.conrelid::regclass, c.conname) AS name
  FROM pg_constraint c WHERE c.contype = 'f' AND c.conparentid = 0`;
const OPENED = `WITH RECURSIVE up (oid) AS (
    SELECT l.relation FROM pg_locks l WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND l.mode = 'AccessShareLock'
    UNION SELECT h.inhparent FROM up u JOIN pg_inherits h ON h.inhrelid = u.oid)
  SELECT DISTINCT format('%I.%I', n.nspname, c.relname) AS name FROM up u JOIN pg_class c ON c.oid = u.oid JOIN pg_namespace n ON n.oid = c.relnamespace
   WHERE c.relkind IN ('r', 'p', 'm') AND ${OWN} AND NOT EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = u.oid) ORDER BY 1`;
