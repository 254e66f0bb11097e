import { CacheConfigurationError, shown } from '../core/errors.js';
import { quoteIdentifier } from './sql.js';

/** The cache table where no other is named. */
export const DEFAULT_TABLE = 'fraiseql_cache';

/** The cache table, as its two names and as SQL. */
export interface TableName {
  schema: string;
  table: string;
  quoted: string;
}

/**
 * Parse `table` or `schema.table`; each part plain (`[A-Za-z_][A-Za-z0-9_$]*`) or in double quotes.
 * Plain names are folded to lower case, as PostgreSQL does.
 * @throws CacheConfigurationError
 */
export function parseTableName(name: unknown, defaultSchema = 'fraiseql_cache'): TableName {
  const part = String.raw`(?:[A-Za-z_][A-Za-z0-9_$]*|"(?:[^"\0]|"")+")`;
  const match = typeof name === 'string' ? new RegExp(`^(?:(${part})\\.)?(${part})$`).exec(name) : null;
  if (match === null)
    throw new CacheConfigurationError(
      `tableName: ${shown(name)} is not a table name; write 'fraiseql_cache' or 'my_schema.my_cache', with double quotes around unusual names`,
    );
  const schema = match[1] === undefined ? defaultSchema : unquote(match[1]);
  const table = unquote(match[2]!);
  // Room for the longest suffix that is added to it, "_expires_idx".
  for (const [what, value] of [
    ['schema', schema],
    ['table', table],
  ] as const)
    if (Buffer.byteLength(value) > 50)
      throw new CacheConfigurationError(
        `tableName: the ${what} name ${JSON.stringify(value)} is longer than 50 bytes; choose a shorter one`,
      );
  return { schema, table, quoted: `${quoteIdentifier(schema)}.${quoteIdentifier(table)}` };
}

function unquote(part: string): string {
  return part.startsWith('"') ? part.slice(1, -1).replaceAll('""', '"') : part.toLowerCase();
}
