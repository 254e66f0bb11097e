import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type pg from 'pg';

const run = promisify(execFile);

/** Whether a `pg_dump` (`PG_DUMP`, or the one on the path) can read this server: it must not be older. */
export async function pgDumpFits(server: pg.Pool): Promise<boolean> {
  try {
    const { stdout } = await run(process.env.PG_DUMP ?? 'pg_dump', ['--version']);
    const { rows } = await server.query<{ major: number }>(
      `SELECT current_setting('server_version_num')::int / 10000 AS major`,
    );
    return Number(/(\d+)/.exec(stdout)![1]) >= rows[0]!.major;
  } catch {
    return false;
  }
}

export async function copyWithPgDump(source: string, target: string): Promise<void> {
  const { stdout } = await run(process.env.PG_DUMP ?? 'pg_dump', ['--dbname', source], { maxBuffer: 1e8 });
  const psql = run('psql', ['--dbname', target, '--set=ON_ERROR_STOP=1', '--quiet', '--no-psqlrc']);
  psql.child.stdin!.end(stdout);
  await psql;
}

/**
 * What `pg_dump` and `psql` would do for one database with the extension in it, in their order and as an administrator:
 * schema, extension, objects that are no members with their owners, rows, triggers.
 */
export async function copyByHand(source: pg.Pool, target: pg.Pool): Promise<void> {
  const client = await target.connect();
  try {
    await client.query('SET check_function_bodies = off');
    await copyOver(source, client);
  } finally {
    client.release(true);
  }
}

async function copyOver(source: pg.Pool, target: pg.PoolClient): Promise<void> {
  const texts = async (query: string): Promise<string[]> =>
    (await source.query<{ text: string }>(query)).rows.map(({ text }) => text);
  const apply = async (query: string): Promise<void> => {
    for (const text of await texts(query)) await target.query(text);
  };
  const member = (object: string): string =>
    `EXISTS (SELECT FROM pg_depend d WHERE d.objid = ${object} AND d.deptype = 'e')`;
  const schemas = `IN ('public'::regnamespace, 'fraiseql_cache'::regnamespace)`;

  await apply(
    `SELECT format('CREATE SCHEMA fraiseql_cache; ALTER SCHEMA fraiseql_cache OWNER TO %I', pg_get_userbyid(nspowner)) AS text
       FROM pg_namespace WHERE nspname = 'fraiseql_cache'`,
  );
  await target.query('CREATE EXTENSION IF NOT EXISTS pg_fraiseql_cache WITH SCHEMA fraiseql_cache');
  await apply(
    `SELECT format('%s; ALTER FUNCTION %s OWNER TO %I', pg_get_functiondef(p.oid), p.oid::regprocedure, pg_get_userbyid(p.proowner))
            || COALESCE((SELECT format('; ALTER FUNCTION %s DEPENDS ON EXTENSION pg_fraiseql_cache', p.oid::regprocedure)
                           FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'x'), '') AS text
       FROM pg_proc p WHERE p.pronamespace ${schemas} AND NOT ${member('p.oid')}`,
  );
  await apply(
    `SELECT format('CREATE %s TABLE %s (%s); ALTER TABLE %2$s OWNER TO %4$I', CASE c.relpersistence WHEN 'u' THEN 'UNLOGGED' END, c.oid::regclass,
              (SELECT string_agg(format('%I %s %s', a.attname, format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN 'NOT NULL' END), ', ' ORDER BY a.attnum)
                 FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0), pg_get_userbyid(c.relowner)) AS text
       FROM pg_class c WHERE c.relnamespace ${schemas} AND c.relkind = 'r' AND NOT ${member('c.oid')}`,
  );

  const config = await texts(
    `SELECT c.oid::regclass::text AS text FROM pg_extension e, unnest(e.extconfig) AS x (id) JOIN pg_class c ON c.oid = x.id WHERE c.relkind = 'r'`,
  );
  const own = await texts(
    `SELECT c.oid::regclass::text AS text FROM pg_class c WHERE c.relnamespace ${schemas} AND c.relkind = 'r' AND NOT ${member('c.oid')}`,
  );
  for (const table of [...config, ...own]) {
    const rows = await texts(`SELECT row_to_json(t)::text AS text FROM ${table} t`);
    for (const row of rows)
      await target.query(
        `INSERT INTO ${table} OVERRIDING SYSTEM VALUE SELECT * FROM json_populate_record(NULL::${table}, $1)`,
        [row],
      );
  }
  await apply(
    `SELECT format('SELECT setval(%L, %s, %L)', c.oid::regclass, COALESCE(pg_sequence_last_value(c.oid), 1), pg_sequence_last_value(c.oid) IS NOT NULL) AS text
       FROM pg_extension e, unnest(e.extconfig) AS x (id) JOIN pg_class c ON c.oid = x.id WHERE c.relkind = 'S'`,
  );

  await apply(
    `SELECT format('ALTER TABLE %s ADD CONSTRAINT %I %s', c.conrelid::regclass, c.conname, pg_get_constraintdef(c.oid)) AS text
       FROM pg_constraint c JOIN pg_class r ON r.oid = c.conrelid WHERE r.relnamespace ${schemas} AND c.contype = 'p' AND NOT ${member('r.oid')}`,
  );
  await apply(
    `SELECT format('%s; ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', pg_get_triggerdef(t.oid), t.tgrelid::regclass, t.tgname) AS text
       FROM pg_trigger t WHERE NOT t.tgisinternal AND t.tgenabled = 'A' AND NOT ${member('t.tgrelid')}`,
  );
}
