import { CacheConfigurationError } from '../core/errors.js';
import { checkKeys } from '../core/option-keys.js';
import { Connection, type ConnectionOptions, type TextRows } from '../postgres/connection.js';
import { quoteIdentifier } from '../postgres/sql.js';

/** A table that holds what a view says, brought up to date when asked. */
export interface SyncedTable {
  /** The table, as SQL would write it: `tv_user`. */
  table: string;
  /** The view it is filled from. All its columns must be the table's too. */
  from: string;
  /** The column of both that tells rows apart, with a unique index on the table. Default `id`. */
  key?: string;
}

/** Bring the rows with these keys up to date: rows the view has no more are deleted. Returns how many rows were changed. */
export type Sync = (keys: readonly (string | number | bigint)[]) => Promise<number>;

type Query = (text: string, values?: unknown[]) => Promise<TextRows>;

/**
 * Explicit sync of denormalised tables (`tv_*`) from their views. Watch the tables like any other: rows that did not change
 * are not written, so they make nothing void.
 *
 * @throws CacheConfigurationError
 * @example
 * const sync = createSync(pool, { user: { table: 'tv_user', from: 'v_user', key: 'id' } });
 * await sync.user([userId]);
 */
export function createSync<Name extends string>(
  connection: ConnectionOptions,
  tables: Readonly<Record<Name, SyncedTable>>,
): Record<Name, Sync> {
  const pool = Connection.from(connection);
  const made: [string, Sync][] = Object.entries<SyncedTable>(tables).map(([name, options]) => {
    const table = check(name, options);
    return [
      name,
      async (keys) => {
        if (!Array.isArray(keys))
          throw new CacheConfigurationError(`sync.${name} needs a list of keys: sync.${name}([id])`);
        return keys.length === 0 ? 0 : pool.transaction((query) => sync(query, table, keys.map(String)));
      },
    ];
  });
  return Object.fromEntries(made) as Record<Name, Sync>;
}

function check(name: string, options: SyncedTable): Required<SyncedTable> {
  const where = `createSync: ${name}`;
  if (typeof options !== 'object' || options === null)
    throw new CacheConfigurationError(
      `${where} is no object; write { table: 'tv_${name}', from: 'v_${name}', key: 'id' }`,
    );
  checkKeys(options, ['table', 'from', 'key'], where);
  const { table, from, key = 'id' } = options;
  for (const [option, value] of Object.entries({ table, from, key }))
    if (typeof value !== 'string' || value === '')
      throw new CacheConfigurationError(`${where}: ${option} is no name; write ${option}: 'tv_${name}'`);
  return { table, from, key };
}

async function sync(query: Query, { table, from, key }: Required<SyncedTable>, keys: string[]): Promise<number> {
  // Each statement must see what was committed before it.
  await query('SET TRANSACTION ISOLATION LEVEL READ COMMITTED');
  // Two that sync the same row: who reads the view first must not write last. In an order of their own, against deadlocks.
  await query(
    `SELECT pg_advisory_xact_lock($1::regclass::oid::int, h.hash) FROM (SELECT DISTINCT hashtext(k.key) AS hash FROM unnest($2::text[]) AS k (key) ORDER BY 1) h`,
    [table, keys],
  );
  const columns = (
    await query(
      `SELECT a.attname, format_type(a.atttypid, NULL) FROM pg_attribute a WHERE a.attrelid = $1::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum`,
      [from],
    )
  ).map(([column, type]) => ({ column: column!, name: quoteIdentifier(column!), type: type! }));
  const id = columns.find(({ column }) => column === key);
  if (id === undefined)
    throw new CacheConfigurationError(
      `createSync: ${from} has no column '${key}'; give the one that tells its rows apart: key: 'id'`,
    );
  const [target, view] = await names(query, table, from);
  const all = columns.map(({ name }) => name);
  const row = (alias: string): string => `ROW(${all.map((name) => `${alias}.${name}`).join(', ')})`;
  const others = all.filter((name) => name !== id.name);
  const conflict =
    others.length === 0
      ? 'DO NOTHING'
      : `DO UPDATE SET ${others.map((name) => `${name} = EXCLUDED.${name}`).join(', ')} WHERE record_image_ne(${row('t')}, ${row('EXCLUDED')})`;
  const [written] = await query(
    `WITH written AS (
       INSERT INTO ${target} AS t (${all.join(', ')}) SELECT ${all.map((name) => `v.${name}`).join(', ')} FROM ${view} v
        WHERE v.${id.name} = ANY ($1::text[]::${id.type}[]) ORDER BY v.${id.name} ON CONFLICT (${id.name}) ${conflict} RETURNING 1
     ) SELECT count(*) FROM written`,
    [keys],
  );
  const [gone] = await query(
    `WITH gone AS (
       DELETE FROM ${target} t WHERE t.${id.name} = ANY ($1::text[]::${id.type}[])
          AND NOT EXISTS (SELECT FROM ${view} v WHERE v.${id.name} = t.${id.name}) RETURNING 1
     ) SELECT count(*) FROM gone`,
    [keys],
  );
  return Number(written![0]) + Number(gone![0]);
}

/** Both as the server writes them, so that nothing of what was given stands in a statement. */
async function names(query: Query, table: string, from: string): Promise<[string, string]> {
  const [row] = await query('SELECT $1::regclass::text, $2::regclass::text', [table, from]);
  return [row![0]!, row![1]!];
}
