import { CacheConfigurationError } from '../core/errors.js';
import { CacheKeyBuilder } from '../core/keys.js';
import { ResultCache } from '../core/result-cache.js';
import { ttlToMs } from '../core/duration.js';
import { PostgresCache } from '../postgres/postgres-cache.js';
import { type Tenancy, type TenantContext } from '../tenancy/index.js';
import { CacheService } from './cache.service.js';
import { type CacheModuleOptions, type CacheOptions, type NamedCacheOptions } from './options.js';

/** All caches of one `CacheModule.forRoot`: the default one, and the named ones that modules ask for. */
export class CacheRegistry {
  readonly store: PostgresCache;
  /** The default cache. */
  readonly main: CacheService;
  private readonly named = new Map<string, { settings: string; service: CacheService }>();
  private readonly siblings = new Map<string, PostgresCache>();

  constructor(
    private readonly options: CacheModuleOptions,
    private readonly tenancy: Tenancy,
    private readonly tenants: TenantContext,
  ) {
    const { connection, watch, autoInitialize, poolSize, prepare, tableName, partitions, maxTtl } = options;
    this.store = new PostgresCache({
      connection,
      watch,
      autoInitialize,
      poolSize,
      prepare,
      tableName,
      partitions,
      maxTtl: seconds(maxTtl),
    });
    this.main = this.service(this.store, options, 'default', options.prefix ?? 'fraiseql');
  }

  /** Every table of entries in use. */
  get stores(): PostgresCache[] {
    return [this.store, ...this.siblings.values()];
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
    const { name, ...settings } = options;
    const text = JSON.stringify(settings);
    const known = this.named.get(name);
    if (known !== undefined) {
      if (known.settings === text) return known.service;
      throw new CacheConfigurationError(
        `CacheModule.forFeature('${name}') is imported twice with different options (${known.settings} and ${text}); make them equal, or choose another name`,
      );
    }
    const prefix = options.prefix ?? `${this.options.prefix ?? 'fraiseql'}.${name}`;
    const service = this.service(this.storeFor(options), options, name, prefix);
    const twin = this.services.find(
      (other) =>
        other.engine.store === service.engine.store && other.keys.tenantPrefix() === service.keys.tenantPrefix(),
    );
    if (twin !== undefined)
      throw new CacheConfigurationError(
        `the caches '${twin.name}' and '${name}' have the same table and prefix and would mix up their entries; give one of them another prefix`,
      );
    this.named.set(name, { settings: text, service });
    return service;
  }

  private storeFor({ tableName, maxTtl, partitions }: NamedCacheOptions): PostgresCache {
    if (tableName === undefined || tableName === this.options.tableName) {
      // On the module's table: its settings hold, and may be repeated but not changed.
      if (
        (maxTtl !== undefined && (seconds(maxTtl) ?? 0) > this.store.maxTtl) ||
        (partitions !== undefined && partitions !== (this.options.partitions ?? 0))
      )
        throw new CacheConfigurationError(
          'CacheModule.forFeature: maxTtl beyond the module’s and partitions need a table of their own: give a tableName',
        );
      return this.store;
    }
    let store = this.siblings.get(tableName);
    if (store === undefined) {
      store = this.store.sibling({ tableName, maxTtl: seconds(maxTtl) ?? this.store.maxTtl, partitions });
      this.siblings.set(tableName, store);
    }
    return store;
  }

  private service(store: PostgresCache, options: CacheOptions, name: string, prefix: string): CacheService {
    const engine = new ResultCache({
      store,
      name,
      defaultTtl: options.defaultTtl ?? this.options.defaultTtl,
      maxTtl: options.maxTtl ?? store.maxTtl,
      enableStats: options.enableStats ?? this.options.enableStats,
      maxValueBytes: options.maxValueBytes ?? this.options.maxValueBytes,
      invalidation: options.invalidation ?? this.options.invalidation,
      freshness: options.freshness ?? this.options.freshness,
      memory: options.memory ?? this.options.memory,
      timeout: this.options.timeout,
    });
    return new CacheService(engine, new CacheKeyBuilder({ prefix }), this.tenancy, this.tenants);
  }
}

function seconds(ttl: CacheOptions['maxTtl']): number | undefined {
  return ttl === undefined ? undefined : ttlToMs(ttl, 'maxTtl') / 1000;
}
