import { ttlToMs, type Ttl } from '../core/duration.js';
import { CacheConfigurationError } from '../core/errors.js';
import { freshnessToMs, type Freshness } from '../core/freshness.js';
import { type MemoryOptions } from '../core/result-cache.js';
import { type ConnectionOptions } from '../postgres/connection.js';
import { parseTableName } from '../postgres/table-name.js';
import { type WatchedTable } from '../postgres/watched-table.js';
import { resolveTenancy, type TenancyOptions } from '../tenancy/index.js';

/** What a cache of its own name may set differently from the module's. */
export interface CacheOptions {
  /** Table of the entries, `name` or `schema.name`. Default `fraiseql_cache`, in the schema `fraiseql_cache`. */
  tableName?: string;
  /** Used where no TTL is given: **seconds**, or text such as `'5m'`. Default 300. */
  defaultTtl?: Ttl;
  /** Longest TTL allowed: seconds or text. Default one day. */
  maxTtl?: Ttl;
  /** Hash-partition the table into this many UNLOGGED partitions. Default 0: none. */
  partitions?: number;
  /** Larger values are returned but not stored. Default 100,000 bytes. */
  maxValueBytes?: number;
  /** Count hits and misses. Default `true`. */
  enableStats?: boolean;
  /** What every key begins with. Default `fraiseql`; a named cache's is `fraiseql.<name>`. */
  prefix?: string;
  /** `'strict'` (default): writes make void what depends on them. `'ttl'`: entries live for their TTL, whatever happens. */
  invalidation?: 'strict' | 'ttl';
  /** How old a value served from memory may be: `'strict'` (default) or `{ maxStaleness: '50ms' }`. */
  freshness?: Freshness;
  /** The memory tier of each process: its size and how long it keeps an entry. Default 1,000 entries, 60 s; `false` for none. */
  memory?: MemoryOptions | false;
}

/** Options of `CacheModule.forRoot`. `connection` and `tenancy` are mandatory. */
export interface CacheModuleOptions extends CacheOptions {
  /** A PostgreSQL URL, a `pg.Pool` or its configuration, or a TypeORM `DataSource`. */
  connection: ConnectionOptions;
  /** Whether every key belongs to a tenant. There is no default: a wrong guess would show data to the wrong people. */
  tenancy: TenancyOptions;
  /** Tables whose writes invalidate a domain. */
  watch?: readonly WatchedTable[];
  /** Create what is missing in the database at start. Default `true`; `false` verifies and prints the statements to run. */
  autoInitialize?: boolean;
  /** Connections of the pool that is made for a URL or configuration. Default 4. */
  poolSize?: number;
  /** Named prepared statements. Default `true`; `false` behind a PgBouncer older than 1.21 in transaction mode. */
  prepare?: boolean;
  /** Milliseconds a read waits for the cache's database before it computes by itself. Default 250; `Infinity` for no limit. */
  timeout?: number;
  /** How often expired entries are deleted and the log is trimmed: seconds or text. Default `'5m'`; `false` for never. */
  purgeInterval?: Ttl | false;
  /** Set the `Cache-Status` header (RFC 9211) on responses that read through the cache. Default `true`. */
  cacheStatusHeader?: boolean;
}

export interface CacheOptionsFactory {
  createCacheOptions(): CacheModuleOptions | Promise<CacheModuleOptions>;
}

/** Options of `CacheModule.forFeature`: a cache with a name, and what it does differently. */
export interface NamedCacheOptions extends CacheOptions {
  name: string;
}

const CACHE_KEYS = [
  'tableName',
  'defaultTtl',
  'maxTtl',
  'partitions',
  'maxValueBytes',
  'enableStats',
  'prefix',
  'invalidation',
  'freshness',
  'memory',
] as const;
const ROOT_KEYS = [
  ...CACHE_KEYS,
  'connection',
  'tenancy',
  'watch',
  'autoInitialize',
  'poolSize',
  'prepare',
  'timeout',
  'purgeInterval',
  'cacheStatusHeader',
  'isGlobal',
];

/**
 * Check what can be known to be wrong before anything runs.
 * @throws CacheConfigurationError with what to write instead
 */
export function checkRootOptions(options: CacheModuleOptions): CacheModuleOptions {
  if (typeof options !== 'object' || options === null)
    throw new CacheConfigurationError(
      "CacheModule.forRoot() needs options; write CacheModule.forRoot({ connection: process.env.DATABASE_URL, tenancy: 'off' })",
    );
  checkKeys(options, ROOT_KEYS, 'CacheModule.forRoot');
  checkCacheOptions(options, 'CacheModule.forRoot');
  resolveTenancy(options.tenancy);
  if (
    options.purgeInterval !== undefined &&
    options.purgeInterval !== false &&
    ttlToMs(options.purgeInterval, 'purgeInterval') === 0
  )
    throw new CacheConfigurationError("purgeInterval: 0 would purge without a pause; write '5m', or false for never");
  integer(options.poolSize, 'poolSize', 1, 1_000);
  for (const [index, table] of (options.watch ?? []).entries()) {
    checkKeys(table, ['table', 'domain', 'tenantColumn', 'tagColumns'], `watch[${index}]`);
    if (
      typeof table.table !== 'string' ||
      table.table === '' ||
      typeof table.domain !== 'string' ||
      table.domain === ''
    )
      throw new CacheConfigurationError(
        `watch[${index}]: table and domain are needed: { table: 'users', domain: 'user' }`,
      );
  }
  return options;
}

/** The same for a named cache. */
export function checkNamedOptions(options: NamedCacheOptions): NamedCacheOptions {
  if (typeof options?.name !== 'string' || options.name === '')
    throw new CacheConfigurationError(
      "CacheModule.forFeature() needs a name: CacheModule.forFeature({ name: 'reports', defaultTtl: '1h' })",
    );
  const where = `CacheModule.forFeature('${options.name}')`;
  checkKeys(options, ['name', ...CACHE_KEYS], where);
  checkCacheOptions(options, where);
  return options;
}

function checkCacheOptions(options: CacheOptions, where: string): void {
  if (options.tableName !== undefined) parseTableName(options.tableName);
  const maxTtl = ttlToMs(options.maxTtl ?? 86_400, `${where}: maxTtl`);
  if (maxTtl === 0)
    throw new CacheConfigurationError(
      `${where}: maxTtl: 0 would allow nothing to be stored; write '1d' or leave it out`,
    );
  if (options.defaultTtl !== undefined && ttlToMs(options.defaultTtl, `${where}: defaultTtl`) > maxTtl)
    throw new CacheConfigurationError(
      `${where}: defaultTtl is longer than maxTtl (${maxTtl / 1000} s); raise maxTtl or shorten defaultTtl`,
    );
  integer(options.partitions, `${where}: partitions`, 0, 1_024);
  integer(options.maxValueBytes, `${where}: maxValueBytes`, 1, 1 << 29);
  if (options.freshness !== undefined) freshnessToMs(options.freshness, where);
  if (options.memory !== undefined && options.memory !== false) {
    checkKeys(options.memory, ['maxEntries', 'maxBytes', 'ttl'], `${where}: memory`);
    integer(options.memory.maxEntries, `${where}: memory.maxEntries`, 1, 1 << 30);
    integer(options.memory.maxBytes, `${where}: memory.maxBytes`, 1, 2 ** 40);
    if (options.memory.ttl !== undefined) ttlToMs(options.memory.ttl, `${where}: memory.ttl`);
  }
  if (options.invalidation !== undefined && options.invalidation !== 'strict' && options.invalidation !== 'ttl')
    throw new CacheConfigurationError(
      `${where}: invalidation: ${JSON.stringify(options.invalidation)} is unknown; write 'strict' or 'ttl'`,
    );
}

function checkKeys(options: object, known: readonly string[], where: string): void {
  for (const key of Object.keys(options)) {
    if (known.includes(key)) continue;
    const like =
      known.find((name) => name.toLowerCase() === key.toLowerCase()) ??
      known.find((name) => name.startsWith(key.slice(0, 3)));
    throw new CacheConfigurationError(
      `${where}: there is no option '${key}'${like ? `; did you mean '${like}'?` : `; known are ${known.join(', ')}`}`,
    );
  }
}

function integer(value: number | undefined, where: string, least: number, most: number): void {
  if (value !== undefined && !(Number.isInteger(value) && value >= least && value <= most))
    throw new CacheConfigurationError(`${where}: ${String(value)} is not a whole number from ${least} to ${most}`);
}
