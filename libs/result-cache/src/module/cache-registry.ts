import { DEFAULT_PREFIX, DEFAULT_TTL } from '../core/defaults.js';
import { ttlToMs } from '../core/duration.js';
import { CacheConfigurationError, shown } from '../core/errors.js';
import { CacheKeyBuilder } from '../core/keys.js';
import { renewalPart } from '../core/renewal-options.js';
import { ResultCache } from '../core/result-cache.js';
import { PostgresCache } from '../postgres/postgres-cache.js';
import { parseTableName } from '../postgres/table-name.js';
import { type Tenancy, type TenantContext } from '../tenancy/index.js';
import { CacheService } from './cache.service.js';
import { type EntityWatchOptions } from '../entities/watch-options.js';
import { type CacheModuleOptions, type CacheOptions, type NamedCacheOptions } from './options.js';

/** All caches of one `CacheModule.forRoot`: the default one, and the named ones that modules ask for. */
export class CacheRegistry {
  readonly store: PostgresCache;
  /** The default cache. */
  readonly main: CacheService;
  private readonly named = new Map<string, { settings: string; service: CacheService }>();
  private readonly watches = new Map<EntityWatchOptions, string>();
  /** Stores of other tables, by the table's quoted name. */
  private readonly siblings = new Map<string, { store: PostgresCache; partitions: number }>();

  constructor(
    private readonly options: CacheModuleOptions,
    private readonly tenancy: Tenancy,
    private readonly tenants: TenantContext,
  ) {
    const { connection, watch, inference, autoInitialize, poolSize, prepare, tableName, partitions, maxTtl } = options;
    const { breaker, maxTableEntries, maxTableBytes, rowLevelSecurity = false } = options;
    this.store = new PostgresCache({
      connection,
      watch,
      inference,
      autoInitialize,
      rowLevelSecurity: rowLevelSecurity && { setting: tenancy.setting },
      poolSize,
      prepare,
      tableName,
      partitions,
      maxTtl: seconds(maxTtl),
      breaker,
      maxTableEntries,
      maxTableBytes,
    });
    this.main = this.service(this.store, options, 'default', options.prefix ?? DEFAULT_PREFIX);
  }

  /** Have the tables of these entities watched; `where` is who asks, for messages. */
  watchEntities(options: EntityWatchOptions, where: string): void {
    this.watches.set(options, where);
  }

  /** What modules want watched, in the order of their import. */
  get entityWatches(): { options: EntityWatchOptions; where: string }[] {
    return [...this.watches].map(([options, where]) => ({ options, where }));
  }

  /** Every table of entries in use. */
  get stores(): PostgresCache[] {
    return [this.store, ...[...this.siblings.values()].map(({ store }) => store)];
  }

  /** Every cache, the default one first. */
  get services(): CacheService[] {
    return [this.main, ...[...this.named.values()].map(({ service }) => service)];
  }

  /**
   * The cache of a name; several modules may ask for it with the same options.
   * @throws CacheConfigurationError where the options differ, or two caches would share their keys.
   */
  forName(options: NamedCacheOptions): CacheService {
    const { name } = options;
    const where = `CacheModule.forFeature('${name}')`;
    const settings = describe(options);
    const known = this.named.get(name);
    if (known !== undefined) {
      if (known.settings === settings) return known.service;
      throw new CacheConfigurationError(
        `${where} is imported twice with different options (${known.settings} and ${settings}); make them equal, or choose another name`,
      );
    }
    const prefix = options.prefix ?? `${this.options.prefix ?? DEFAULT_PREFIX}.${name}`;
    const service = this.service(this.storeFor(options, where), options, name, prefix);
    // In different tables too: a deleted key is void wherever it stands.
    const twin = this.services.find((other) => other.keys.tenantPrefix() === service.keys.tenantPrefix());
    if (twin !== undefined)
      throw new CacheConfigurationError(
        `the caches '${twin.name}' and '${name}' have the same prefix, so each would find or delete the other's entries; give one of them another prefix`,
      );
    this.named.set(name, { settings, service });
    return service;
  }

  /** The table's one store: two on a table would ask twice what one statement answers. */
  private storeFor(options: NamedCacheOptions, where: string): PostgresCache {
    const { tableName, maxTtl, partitions, maxTableEntries, maxTableBytes } = options;
    const { quoted } = tableName === undefined ? this.store.table : parseTableName(tableName);
    const own = quoted === this.store.table.quoted;
    const shared = own ? { store: this.store, partitions: this.options.partitions ?? 0 } : this.siblings.get(quoted);
    if (shared === undefined) {
      const { limits } = this.store;
      const store = this.store.sibling({
        tableName,
        maxTtl: seconds(maxTtl) ?? this.store.maxTtl,
        partitions,
        maxTableEntries: maxTableEntries ?? limits.maxTableEntries,
        maxTableBytes: maxTableBytes ?? limits.maxTableBytes,
      });
      this.siblings.set(quoted, { store, partitions: partitions ?? 0 });
      return store;
    }
    // The settings of a table hold for all caches in it; they may be repeated, and a TTL may be shorter.
    if (
      (maxTtl !== undefined && seconds(maxTtl)! > shared.store.maxTtl) ||
      (partitions !== undefined && partitions !== shared.partitions)
    )
      throw new CacheConfigurationError(
        `${where}: its table ${quoted} has maxTtl ${shared.store.maxTtl} s and ${shared.partitions} partitions, as the ${own ? 'module' : 'cache that named it first'} says; do not exceed or change them, or give another tableName`,
      );
    for (const limit of ['maxTableEntries', 'maxTableBytes'] as const)
      if (options[limit] !== undefined && options[limit] !== shared.store.limits[limit])
        throw new CacheConfigurationError(
          `${where}: its table ${quoted} has ${limit} ${shared.store.limits[limit] ?? 'none'}, as the ${own ? 'module' : 'cache that named it first'} says; leave it out, or give another tableName`,
        );
    return shared.store;
  }

  private service(store: PostgresCache, options: CacheOptions, name: string, prefix: string): CacheService {
    const maxTtl = seconds(options.maxTtl) ?? store.maxTtl;
    const defaultTtl = options.defaultTtl ?? this.options.defaultTtl ?? DEFAULT_TTL;
    // A default that was inherited gives way to a shorter limit; one that was chosen is a contradiction.
    if (options.defaultTtl !== undefined && ttlToMs(options.defaultTtl) > maxTtl * 1000)
      throw new CacheConfigurationError(
        `the cache '${name}': defaultTtl ${shown(options.defaultTtl)} is longer than maxTtl (${maxTtl} s); shorten it or raise maxTtl`,
      );
    const engine = new ResultCache({
      store,
      name,
      defaultTtl: Math.min(ttlToMs(defaultTtl) / 1000, maxTtl),
      maxTtl,
      ttls: this.options.ttls,
      enableStats: options.enableStats ?? this.options.enableStats,
      maxValueBytes: options.maxValueBytes ?? this.options.maxValueBytes,
      maxTags: options.maxTags ?? this.options.maxTags,
      invalidation: options.invalidation ?? this.options.invalidation,
      freshness: options.freshness ?? this.options.freshness,
      lease: options.lease ?? this.options.lease,
      ...renewalPart(this.options),
      ...renewalPart(options),
      memory: options.memory ?? this.options.memory,
      timeout: this.options.timeout,
    });
    return new CacheService(engine, new CacheKeyBuilder({ prefix }), this.tenancy, this.tenants);
  }
}

function seconds(ttl: CacheOptions['maxTtl']): number | undefined {
  return ttl === undefined ? undefined : ttlToMs(ttl, 'maxTtl') / 1000;
}

/** Options as one text, whatever order they were written in. */
function describe(options: NamedCacheOptions): string {
  const settings = Object.entries(options).filter(([option, value]) => option !== 'name' && value !== undefined);
  return JSON.stringify(Object.fromEntries(settings.sort(([a], [b]) => (a < b ? -1 : 1))));
}
