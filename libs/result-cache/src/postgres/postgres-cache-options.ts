import { type BreakerOptions } from '../core/circuit-breaker.js';
import { type Clock } from '../core/clock.js';
import { CacheConfigurationError, shown } from '../core/errors.js';
import { type Connection, type ConnectionOptions } from './connection.js';
import { type InferenceOptions } from './inference/index.js';
import { type WatchedTable } from './watched-table.js';

/** What one table of entries may hold. */
export type TableLimits = Pick<PostgresCacheOptions, 'maxTableEntries' | 'maxTableBytes'>;

/** How the table of the entries is locked by tenant. */
export interface RowLevelSecurity {
  /** The setting that holds the tenant of a transaction, as `tenancy.setting` names it. Default `app.current_tenant_id`. */
  setting: string;
}

/** What a `PostgresCache` is made with. */
export interface PostgresCacheOptions {
  /** A PostgreSQL URL, a `pg` pool or its configuration, or a TypeORM DataSource. */
  connection: ConnectionOptions | Connection;
  /** Table of the entries, `name` or `schema.name`. Default `fraiseql_cache`, in the schema `fraiseql_cache`. */
  tableName?: string;
  /** Create what is missing. Default `true`; if `false`, what is missing is reported with the statements to run. */
  autoInitialize?: boolean;
  /** Size of the pool that is made for a URL or configuration. Default 4. */
  poolSize?: number;
  /** Longest life of an entry, in seconds. Default 86,400 (a day). */
  maxTtl?: number;
  /** Most entries in the table; each purge deletes those beyond that would expire first. Default: no limit. */
  maxTableEntries?: number;
  /** Most bytes of the entries in the table (values as JSON, keys, tags and proofs), likewise. Default: no limit. */
  maxTableBytes?: number;
  /** Hash-partition the table into this many UNLOGGED partitions. Default 0: none. */
  partitions?: number;
  /**
   * Refuse to start where this role, by SQL of its own, would see other tenants' entries: the table must belong to
   * another role, which has locked it (`npx result-cache sql --row-level-security`). Default `false`: not looked at.
   */
  rowLevelSecurity?: boolean | RowLevelSecurity;
  /** Tables whose writes invalidate a domain. */
  watch?: readonly WatchedTable[];
  /** What finding out the tables behind statements cannot see by itself. */
  inference?: InferenceOptions;
  /** Use named prepared statements. Default `true`; turn off behind a PgBouncer older than 1.21 in transaction mode. */
  prepare?: boolean;
  /** When a database that does not answer is let alone, and when it is asked again. */
  breaker?: BreakerOptions;
  /** What a retry waits by. Tests inject their own. */
  clock?: Clock;
}

/**
 * Check what would otherwise become part of a statement.
 * @throws CacheConfigurationError
 */
export function checkStoreOptions({
  maxTtl,
  partitions,
  watch,
  rowLevelSecurity = false,
}: Pick<PostgresCacheOptions, 'maxTtl' | 'partitions' | 'watch' | 'rowLevelSecurity'>): void {
  wholeNumber(maxTtl, 'maxTtl (seconds)', 1, 2 ** 31 - 1);
  wholeNumber(partitions, 'partitions', 0, 1_024);
  const isTable = ({ table, domain, tenantColumn, tagColumns }: Partial<WatchedTable>): boolean =>
    isText(table) &&
    isText(domain) &&
    (tenantColumn === undefined || isText(tenantColumn)) &&
    (tagColumns === undefined || isListOf(tagColumns, (group) => isListOf(group, isText)));
  if (watch !== undefined && !isListOf(watch, (table) => typeof table === 'object' && table !== null && isTable(table)))
    throw new CacheConfigurationError(
      `watch: ${shown(watch)} is no list of tables; write watch: [{ table: 'users', domain: 'user' }]`,
    );
  const { setting } = (rowLevelSecurity ?? {}) as { setting?: unknown };
  if (
    typeof rowLevelSecurity !== 'boolean' &&
    !(typeof setting === 'string' && /^[a-z_]\w*(\.[a-z_]\w*)+$/i.test(setting))
  )
    throw new CacheConfigurationError(
      `rowLevelSecurity: ${shown(rowLevelSecurity)} is unknown; write true, or { setting: 'app.current_tenant_id' }`,
    );
}

const isText = (value: unknown): value is string => typeof value === 'string' && value !== '' && !value.includes('\0');
const isListOf = (value: unknown, test: (item: any) => boolean): boolean => Array.isArray(value) && value.every(test);

function wholeNumber(value: unknown, option: string, least: number, most: number): void {
  if (value !== undefined && !(Number.isInteger(value) && (value as number) >= least && (value as number) <= most))
    throw new CacheConfigurationError(`${option}: ${shown(value)} is not a whole number from ${least} to ${most}`);
}
