import { DEFAULT_MAX_TTL } from '../core/defaults.js';
import { CacheConfigurationError, shown } from '../core/errors.js';
import { checkKeys } from '../core/option-keys.js';
import { checkStoreOptions, type PostgresCacheOptions, type RowLevelSecurity } from './postgres-cache-options.js';
import { migrations, quoteIdentifier, quoteLiteral } from './sql.js';
import { DEFAULT_TABLE, parseTableName, type TableName } from './table-name.js';
import { type WatchedTable } from './watched-table.js';

/** Options of {@link installScript}: those of the cache, and who will use it. */
export interface InstallScriptOptions extends Pick<
  PostgresCacheOptions,
  'tableName' | 'maxTtl' | 'partitions' | 'watch' | 'rowLevelSecurity'
> {
  /** The role that the application connects as, if it is not the one that runs the script: it is given what it needs. */
  role?: string;
}

const SCRIPT_KEYS = ['tableName', 'maxTtl', 'partitions', 'watch', 'rowLevelSecurity', 'role'];

/**
 * Everything that `initialize()` would do in an empty database, as one transaction for an administrator or a migration.
 * Give it the options of the cache.
 *
 * @throws CacheConfigurationError for a wrong option.
 * @example
 * writeFileSync('cache.sql', installScript({ watch: [{ table: 'users', domain: 'user' }], role: 'app' }));
 */
export function installScript(options: InstallScriptOptions = {}): string {
  checkKeys(options, SCRIPT_KEYS, 'installScript');
  checkStoreOptions(options);
  const { tableName, maxTtl, partitions, watch = [], role, rowLevelSecurity = false } = options;
  if (role !== undefined && (typeof role !== 'string' || role === '' || role.includes('\0')))
    throw new CacheConfigurationError(`installScript: role: ${shown(role)} is no role's name; write role: 'app'`);
  const table = parseTableName(tableName ?? DEFAULT_TABLE);
  return [
    'BEGIN;',
    'CREATE SCHEMA fraiseql_cache;',
    ...migrations().map(
      ({ name, sql }) => `${sql.trim()}\nINSERT INTO fraiseql_cache.migration (name) VALUES (${quoteLiteral(name)});`,
    ),
    createCacheCall(table, maxTtl ?? DEFAULT_MAX_TTL, partitions ?? 0),
    ...lockCall(table, rowLevelSecurity),
    'SELECT fraiseql_cache.ensure_incarnation();',
    ...watch.map(watchCall),
    ...(role === undefined ? [] : grants(table, role)),
    'COMMIT;',
    '',
  ].join('\n\n');
}

/** The call that makes the table of a cache. */
export function createCacheCall({ schema, table }: TableName, maxTtl: number, partitions: number): string {
  return `SELECT fraiseql_cache.create_cache(${quoteLiteral(schema)}, ${quoteLiteral(table)}, ${maxTtl}, ${partitions});`;
}

/** The call that locks the table of a cache by tenant, if that is asked for. */
export function lockCall({ schema, table }: TableName, lock: boolean | RowLevelSecurity): string[] {
  if (lock === false) return [];
  const setting = lock === true ? '' : `, ${quoteLiteral(lock.setting)}`;
  return [`SELECT fraiseql_cache.lock_cache(${quoteLiteral(schema)}, ${quoteLiteral(table)}${setting});`];
}

/** The call that makes the triggers of a table. */
export function watchCall({ table, domain, tenantColumn, tagColumns }: WatchedTable): string {
  const rest = [tenantColumn, tagColumns && JSON.stringify(tagColumns)].map((value) =>
    value ? quoteLiteral(value) : 'NULL',
  );
  return `SELECT fraiseql_cache.watch(${quoteLiteral(table)}, ${quoteLiteral(domain)}, ${rest.join(', ')});`;
}

/** What a role needs to use a cache that belongs to another. It writes through functions only. */
export function grants({ schema, quoted }: TableName, role: string): string[] {
  const to = quoteIdentifier(role);
  return [
    ...[...new Set(['fraiseql_cache', schema])].map(
      (name) => `GRANT USAGE ON SCHEMA ${quoteIdentifier(name)} TO ${to};`,
    ),
    `GRANT SELECT ON fraiseql_cache.migration, fraiseql_cache.caches, fraiseql_cache.current_incarnation, ${quoted} TO ${to};`,
    `SELECT fraiseql_cache.allow_use(${quoteLiteral(role)});`,
  ];
}
