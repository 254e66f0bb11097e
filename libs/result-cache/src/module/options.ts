import { BREAKER_KEYS, type BreakerOptions, CircuitBreaker } from '../core/circuit-breaker.js';
import { systemClock } from '../core/clock.js';
import { DEFAULT_MAX_TTL } from '../core/defaults.js';
import { ttlToMs, type NamedTtls, type Ttl } from '../core/duration.js';
import { CacheConfigurationError, shown } from '../core/errors.js';
import { STORE_EVENTS } from '../core/events.js';
import { freshnessToMs, type Freshness } from '../core/freshness.js';
import { leaseTimes, type LeaseOptions } from '../core/lease-options.js';
import { checkKeys } from '../core/option-keys.js';
import { renewalOf, RENEWAL_KEYS, type RenewalOptions } from '../core/renewal-options.js';
import { type MemoryOptions } from '../core/result-cache.js';
import { checkEntityWatch, ENTITY_WATCH_KEYS, type EntityWatchOptions } from '../entities/watch-options.js';
import { type ConnectionOptions } from '../postgres/connection.js';
import { type InferenceOptions } from '../postgres/inference/index.js';
import { parseTableName } from '../postgres/table-name.js';
import { type WatchedTable } from '../postgres/watched-table.js';
import { resolveTenancy, type TenancyOptions } from '../tenancy/index.js';

/** What a cache of its own name may set differently from the module's. */
export interface CacheOptions extends RenewalOptions {
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
  /** Values that depend on more domains, tags and rows than this are returned but not stored. Default 10,000. */
  maxTags?: number;
  /** Most entries in the table; each purge deletes those beyond that would expire first. Default: no limit. */
  maxTableEntries?: number;
  /** Most bytes of the entries in the table (values as JSON, keys, tags and proofs), likewise. Default: no limit. */
  maxTableBytes?: number;
  /** Count hits and misses. Default `true`. */
  enableStats?: boolean;
  /** What every key begins with. Default `fraiseql`; a named cache's is `fraiseql.<name>`. */
  prefix?: string;
  /** `'strict'` (default): writes make void what depends on them. `'ttl'`: entries live for their TTL, whatever happens. */
  invalidation?: 'strict' | 'ttl';
  /** How old a value served from memory may be: `'strict'` (default) or `{ maxStaleness: '50ms' }`. */
  freshness?: Freshness;
  /** Have one process compute a missing value while the others wait for it: `true` or `{ ttl: '10s' }`. Default `false`. */
  lease?: boolean | LeaseOptions;
  /** The memory tier of each process: its size and how long it keeps an entry. Default 1,000 entries, 60 s; `false` for none. */
  memory?: MemoryOptions | false;
}

/** Options of `CacheModule.forRoot`. `connection` and `tenancy` are mandatory. */
export interface CacheModuleOptions extends CacheOptions {
  /** A PostgreSQL URL, a `pg.Pool` or its configuration, or a TypeORM `DataSource`. */
  connection: ConnectionOptions;
  /** TTLs with names, for `ttl: { named: 'user_profile' }`: `{ user_profile: 300, trending: '10m' }`. */
  ttls?: NamedTtls;
  /** Whether every key belongs to a tenant. There is no default: a wrong guess would show data to the wrong people. */
  tenancy: TenancyOptions;
  /** Tables whose writes invalidate a domain. */
  watch?: readonly WatchedTable[];
  /** For `domains: 'infer'`: what functions read of which PostgreSQL cannot tell. */
  inference?: InferenceOptions;
  /** Create what is missing in the database at start. Default `true`; `false` verifies and prints the statements to run. */
  autoInitialize?: boolean;
  /**
   * Start only where this role's own SQL sees no other tenant's entries: the table belongs to another role, which has locked it
   * (`npx result-cache sql --role app --row-level-security`). Default `false`: not looked at.
   */
  rowLevelSecurity?: boolean;
  /** Connections of the pool that is made for a URL or configuration. Default 4. */
  poolSize?: number;
  /** Named prepared statements. Default `true`; `false` behind a PgBouncer older than 1.21 in transaction mode. */
  prepare?: boolean;
  /** Milliseconds a read waits for the cache's database before it computes by itself. Default 250; `Infinity` for no limit. */
  timeout?: number;
  /** When a database that does not answer is let alone, and when it is asked again. */
  breaker?: BreakerOptions;
  /** How long the end of the application waits for computations and statements under way: seconds or text. Default `'5s'`. */
  shutdownTimeout?: Ttl;
  /** How often expired entries are deleted and the log is trimmed: seconds or text. Default `'5m'`; `false` for never. */
  purgeInterval?: Ttl | false;
  /** Set the `Cache-Status` header (RFC 9211) on responses that read through the cache. Default `true`. */
  cacheStatusHeader?: boolean;
}

/** A class that makes the options: `CacheModule.forRootAsync({ useClass: CacheConfig })`. */
export interface CacheOptionsFactory {
  createCacheOptions(): CacheModuleOptions | Promise<CacheModuleOptions>;
}

/** Options of `CacheModule.forFeature`: a cache with a name, and what it does differently. */
export interface NamedCacheOptions extends CacheOptions {
  name: string;
}

/** Options of `CacheModule.forFeature`: a cache with a name, entities to watch, or both. */
export type CacheFeatureOptions = NamedCacheOptions | EntityWatchOptions | (NamedCacheOptions & EntityWatchOptions);

/** What each cache may have of its own. */
export const CACHE_KEYS = [
  'tableName',
  'defaultTtl',
  'maxTtl',
  'partitions',
  'maxValueBytes',
  'maxTags',
  'maxTableEntries',
  'maxTableBytes',
  'enableStats',
  'prefix',
  'invalidation',
  'freshness',
  'lease',
  ...RENEWAL_KEYS,
  'memory',
] as const;
/** What `forRoot` takes beside them. */
export const APPLICATION_KEYS = [
  'connection',
  'ttls',
  'tenancy',
  'watch',
  'inference',
  'autoInitialize',
  'rowLevelSecurity',
  'poolSize',
  'prepare',
  'timeout',
  'breaker',
  'shutdownTimeout',
  'purgeInterval',
  'cacheStatusHeader',
] as const;
export const WATCH_KEYS = ['table', 'domain', 'tenantColumn', 'tagColumns'] as const;
export const MEMORY_KEYS = ['maxEntries', 'maxBytes', 'ttl'] as const;

/** The longest pause a Node timer can make; a longer one would fire at once, again and again. */
const MOST_TIMER_MS = 2 ** 31 - 1;

/**
 * Check what can be known to be wrong before anything runs.
 * @throws CacheConfigurationError with what to write instead
 */
export function checkRootOptions(options: CacheModuleOptions): CacheModuleOptions {
  const where = 'CacheModule.forRoot';
  if (typeof options !== 'object' || options === null)
    throw new CacheConfigurationError(
      "CacheModule.forRoot() needs options; write CacheModule.forRoot({ connection: process.env.DATABASE_URL, tenancy: 'off' })",
    );
  checkKeys(options, [...CACHE_KEYS, ...APPLICATION_KEYS], where);
  if (options.connection === undefined || options.connection === null)
    throw new CacheConfigurationError(
      `${where}: connection is missing; write connection: process.env.DATABASE_URL (and set it), or give a pg.Pool or a TypeORM DataSource`,
    );
  checkCacheOptions(options, where);
  const { defaultTtl = 0, maxTtl = DEFAULT_MAX_TTL } = options;
  if (ttlToMs(defaultTtl) > ttlToMs(maxTtl))
    throw new CacheConfigurationError(
      `${where}: defaultTtl ${shown(defaultTtl)} is longer than maxTtl ${shown(maxTtl)}; shorten it or raise maxTtl`,
    );
  checkTtls(options.ttls, ttlToMs(maxTtl), where);
  resolveTenancy(options.tenancy);
  checkPurgeInterval(options.purgeInterval, where);
  checkBreaker(options.breaker, where);
  if (options.shutdownTimeout !== undefined)
    integer(
      ttlToMs(options.shutdownTimeout, `${where}: shutdownTimeout`),
      `${where}: shutdownTimeout (ms)`,
      0,
      MOST_TIMER_MS,
    );
  integer(options.poolSize, `${where}: poolSize`, 1, 1_000);
  for (const name of ['autoInitialize', 'rowLevelSecurity', 'prepare', 'cacheStatusHeader'] as const)
    boolean(options[name], where, name);
  if (options.rowLevelSecurity === true && options.tenancy === 'off')
    throw new CacheConfigurationError(
      `${where}: rowLevelSecurity keeps tenants apart, and with tenancy: 'off' there are none; write tenancy: { mode: 'required', … }, or leave it out`,
    );
  checkWatch(options.watch, where);
  checkInference(options.inference, where);
  return options;
}

function checkTtls(ttls: unknown, maxTtlMs: number, where: string): void {
  if (ttls === undefined) return;
  if (typeof ttls !== 'object' || ttls === null || Array.isArray(ttls))
    throw new CacheConfigurationError(`${where}: ttls is no object; write ttls: { user_profile: 300 }`);
  for (const [name, ttl] of Object.entries(ttls))
    if (ttlToMs(ttl as Ttl, `${where}: ttls.${name}`) > maxTtlMs)
      throw new CacheConfigurationError(
        `${where}: ttls.${name} ${shown(ttl)} is longer than maxTtl (${maxTtlMs / 1000} s); shorten it or raise maxTtl`,
      );
}

function checkPurgeInterval(interval: CacheModuleOptions['purgeInterval'], where: string): void {
  if (interval === undefined || interval === false) return;
  const ms = ttlToMs(interval, `${where}: purgeInterval`);
  if (ms === 0)
    throw new CacheConfigurationError(
      `${where}: purgeInterval: 0 would purge without a pause; write '5m', or false for never`,
    );
  if (ms > MOST_TIMER_MS)
    throw new CacheConfigurationError(
      `${where}: purgeInterval is longer than a timer can wait (24 days); write '5m', or false for never`,
    );
}

function checkBreaker(breaker: unknown, where: string): void {
  if (breaker === undefined) return;
  if (typeof breaker !== 'object' || breaker === null)
    throw new CacheConfigurationError(
      `${where}: breaker is no object; write breaker: { retryAfter: '1s' }, or leave it out`,
    );
  checkKeys(breaker, BREAKER_KEYS, `${where}: breaker`);
  new CircuitBreaker(breaker, systemClock);
}

function checkWatch(watch: unknown, where: string): void {
  if (watch === undefined) return;
  const remedy = "write watch: [{ table: 'users', domain: 'user' }]";
  if (!Array.isArray(watch)) throw new CacheConfigurationError(`${where}: watch is no list; ${remedy}`);
  for (const [index, table] of (watch as unknown[]).entries()) {
    const place = `${where}: watch[${index}]`;
    if (typeof table !== 'object' || table === null)
      throw new CacheConfigurationError(`${place} is no object; ${remedy}`);
    checkKeys(table, WATCH_KEYS, place);
    const { table: name, domain, tenantColumn, tagColumns } = table as Record<string, unknown>;
    if (!isName(name) || !isName(domain))
      throw new CacheConfigurationError(`${place}: table and domain are needed; ${remedy}`);
    if (tenantColumn !== undefined && !isName(tenantColumn))
      throw new CacheConfigurationError(`${place}: tenantColumn is no column's name; write tenantColumn: 'tenant_id'`);
    if (tagColumns !== undefined && !isListOf(tagColumns, (group) => isListOf(group, isName)))
      throw new CacheConfigurationError(
        `${place}: tagColumns is no list of column groups; write tagColumns: [['author_id']]`,
      );
  }
}

function checkInference(inference: unknown, where: string): void {
  if (inference === undefined) return;
  const remedy = "write inference: { functions: { 'public.active_users(integer)': ['user'] } }";
  if (typeof inference !== 'object' || inference === null)
    throw new CacheConfigurationError(`${where}: inference is no object; ${remedy}`);
  checkKeys(inference, ['functions'], `${where}: inference`);
  const { functions = {} } = inference as { functions?: unknown };
  if (
    typeof functions !== 'object' ||
    functions === null ||
    !Object.values(functions).every((list) => isListOf(list, isName))
  )
    throw new CacheConfigurationError(
      `${where}: inference.functions does not map functions to lists of domains; ${remedy}`,
    );
}

/** The two halves of what `CacheModule.forFeature` was given, checked. */
export interface CheckedFeature {
  named?: NamedCacheOptions;
  watch?: EntityWatchOptions;
  /** Who asks, for messages. */
  where: string;
}

/**
 * The same for the options of a feature.
 * @throws CacheConfigurationError
 */
export function checkFeatureOptions(options: CacheFeatureOptions): CheckedFeature {
  // From untyped code it may be anything.
  const isObject = typeof options === 'object' && options !== null;
  const given = (isObject ? options : {}) as NamedCacheOptions & EntityWatchOptions;
  if (given.watch === undefined) return checkNamedOnly(given);
  const { watch, dataSource, tenantColumn, ...named } = given;
  const where = named.name === undefined ? 'CacheModule.forFeature' : `CacheModule.forFeature('${named.name}')`;
  checkKeys(given, ['name', ...CACHE_KEYS, ...ENTITY_WATCH_KEYS], where);
  const entities: EntityWatchOptions = { watch, dataSource, tenantColumn };
  checkEntityWatch(entities, where);
  const [setting] = Object.keys(named).filter((key) => named[key as keyof NamedCacheOptions] !== undefined);
  if (setting === undefined) return { watch: entities, where };
  if (named.name === undefined)
    throw new CacheConfigurationError(
      `${where}: ${setting} is an option of a cache with a name; write name: 'reports' beside it, or set it in CacheModule.forRoot`,
    );
  return { named: checkNamedOptions(named), watch: entities, where };
}

function checkNamedOnly(options: NamedCacheOptions): CheckedFeature {
  for (const key of ['dataSource', 'tenantColumn'])
    if (key in options)
      throw new CacheConfigurationError(
        `CacheModule.forFeature: ${key} says nothing without entities; write watch: [User] beside it`,
      );
  const named = checkNamedOptions(options);
  return { named, where: `CacheModule.forFeature('${named.name}')` };
}

function checkNamedOptions(options: NamedCacheOptions): NamedCacheOptions {
  if (typeof options?.name !== 'string' || options.name === '')
    throw new CacheConfigurationError(
      "CacheModule.forFeature() needs a name or entities: CacheModule.forFeature({ name: 'reports', defaultTtl: '1h' }), CacheModule.forFeature({ watch: [User] })",
    );
  const where = `CacheModule.forFeature('${options.name}')`;
  if (options.name === 'default')
    throw new CacheConfigurationError(
      `${where}: 'default' is the module's own cache; choose another name, or set its options in CacheModule.forRoot`,
    );
  if (options.name === STORE_EVENTS)
    throw new CacheConfigurationError(
      `${where}: '${STORE_EVENTS}' is what events of the database go by; choose another name`,
    );
  checkKeys(options, ['name', ...CACHE_KEYS], where);
  checkCacheOptions(options, where);
  return options;
}

function checkCacheOptions(options: CacheOptions, where: string): void {
  if (options.tableName !== undefined) parseTableName(options.tableName);
  if (options.maxTtl !== undefined)
    integer(ttlToMs(options.maxTtl, `${where}: maxTtl`) / 1000, `${where}: maxTtl (seconds)`, 1, 2 ** 31 - 1);
  if (options.defaultTtl !== undefined) ttlToMs(options.defaultTtl, `${where}: defaultTtl`);
  if (options.prefix !== undefined && !isName(options.prefix))
    throw new CacheConfigurationError(`${where}: prefix is no non-empty text; write prefix: 'shop', or leave it out`);
  boolean(options.enableStats, where, 'enableStats');
  integer(options.partitions, `${where}: partitions`, 0, 1_024);
  integer(options.maxValueBytes, `${where}: maxValueBytes`, 1, 1 << 29);
  integer(options.maxTags, `${where}: maxTags`, 1, 1 << 30);
  integer(options.maxTableEntries, `${where}: maxTableEntries`, 1, Number.MAX_SAFE_INTEGER);
  integer(options.maxTableBytes, `${where}: maxTableBytes`, 1, Number.MAX_SAFE_INTEGER);
  if (options.freshness !== undefined) freshnessToMs(options.freshness, where);
  if (options.lease !== undefined) leaseTimes(options.lease, where);
  renewalOf(options, where);
  if (options.memory !== undefined && options.memory !== false) {
    checkKeys(options.memory, MEMORY_KEYS, `${where}: memory`);
    integer(options.memory.maxEntries, `${where}: memory.maxEntries`, 1, 1 << 30);
    integer(options.memory.maxBytes, `${where}: memory.maxBytes`, 1, 2 ** 40);
    if (options.memory.ttl !== undefined) ttlToMs(options.memory.ttl, `${where}: memory.ttl`);
  }
  if (options.invalidation !== undefined && options.invalidation !== 'strict' && options.invalidation !== 'ttl')
    throw new CacheConfigurationError(
      `${where}: invalidation: ${shown(options.invalidation)} is unknown; write 'strict' or 'ttl'`,
    );
}

function integer(value: number | undefined, where: string, least: number, most: number): void {
  if (value !== undefined && !(Number.isInteger(value) && value >= least && value <= most))
    throw new CacheConfigurationError(
      `${where}: ${shown(value)} is not a whole number; write one from ${least} to ${most}`,
    );
}

function isName(value: unknown): boolean {
  return typeof value === 'string' && value !== '';
}

function isListOf(value: unknown, test: (item: unknown) => boolean): boolean {
  return Array.isArray(value) && value.every(test);
}

/** From the environment come texts, and `'false'` is true. */
function boolean(value: unknown, where: string, name: string): void {
  if (value !== undefined && typeof value !== 'boolean')
    throw new CacheConfigurationError(
      `${where}: ${name}: ${shown(value)} is neither true nor false; write ${name}: false`,
    );
}
