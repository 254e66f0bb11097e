import { type PostgresCache } from 'nestjs-result-cache';
import type pg from 'pg';

/** The key of the nth copy of an entry, from 1. */
export function copyKey(key: string, n: number): string {
  return `${key}:${n}`;
}

/**
 * Copy an entry that the library itself has stored, with all its columns, under so many other keys, by one statement.
 *
 * @param different SQL expressions by column, for what is not to be copied; `n` is the number of the copy.
 */
export async function copyEntry(
  pool: pg.Pool,
  { table }: PostgresCache,
  key: string,
  copies: number,
  different: Readonly<Record<string, string>> = {},
): Promise<void> {
  const { rows } = await pool.query<{ name: string }>(
    'SELECT quote_ident(attname) AS name FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped',
    [table.quoted],
  );
  const expressions: Record<string, string> = { cache_key: `e.cache_key || ':' || n`, ...different };
  const columns = rows.map(({ name }) => name);
  const { rowCount } = await pool.query(
    `INSERT INTO ${table.quoted} (${columns.join(', ')})
     SELECT ${columns.map((column) => expressions[column] ?? `e.${column}`).join(', ')}
       FROM ${table.quoted} e, generate_series(1, $2::int) AS n WHERE e.cache_key = $1`,
    [key, copies],
  );
  if (rowCount !== copies) throw new Error(`${rowCount} copies of ${key} in place of ${copies}: it is not stored`);
}
