import { type FactoryProvider, Logger } from '@nestjs/common';
import { BaseEntity, type DataSource, type EntityMetadata, type QueryRunner } from 'typeorm';
import { type Dependencies } from '../core/dependencies.js';
import { CacheConfigurationError } from '../core/errors.js';
import { type EntryOptions, type Policy } from '../core/policy.js';
import { transactions } from '../core/transactions.js';
import { ClassRegistry, type Class } from '../core/values/index.js';
import { collect, type Queryset } from '../decorators/queryset.js';
import { type CacheService, type CallOptions, type ComputeOptions } from '../module/cache.service.js';
import { getCacheToken } from '../module/tokens.js';
import { PostgresCache } from '../postgres/postgres-cache.js';
import { WatchedEntities } from './watched-entities.js';

/** Options of one query of a {@link CachedEntity}; its tags and domains come on top of the class's. */
export interface CachedQueryOptions
  extends Pick<EntryOptions, 'ttl' | 'tags' | 'domains' | 'rows' | 'freshness'>, CallOptions, ComputeOptions {
  /** What distinguishes two calls under one name. */
  args?: readonly unknown[];
}

const logger = new Logger('ResultCache');

/**
 * A TypeORM entity (active record) that caches queries of its own. What writes the entity through TypeORM makes them void:
 * `save`, `remove`, `update`, a repository, a query builder; in the transaction of the write where there is one.
 *
 * SQL past TypeORM, `getRepository().clear()`, and writes with `listeners: false` or `callListeners(false)` are seen by triggers
 * only: watch the table. A query that reads other tables too names their domains in `cacheDomains`, or tags that are made void
 * when they change.
 *
 * The cache is given once: `providers: [cachedEntities()]`, or `CachedEntity.useCache(cache)`. Until then queries run uncached.
 *
 * @example
 * @Entity()
 * class Story extends CachedEntity {
 *   static override cacheTags = ['story'];
 *   static override cacheTtl = 300;
 *
 *   static getFeatured(): Promise<Story[]> {
 *     return this.cachedQuery('featured', () => this.find({ where: { featured: true, published: true } }));
 *   }
 * }
 */
export abstract class CachedEntity extends BaseEntity {
  /** Tags of every cached query of the class; a write of the entity makes them void. */
  static cacheTags: readonly string[] = [];
  /** Domains of watched tables that its cached queries read. */
  static cacheDomains: readonly string[] = [];
  /** Seconds, text such as `'5m'`, or a name. Default: the cache's `defaultTtl`. */
  static cacheTtl: EntryOptions['ttl'] = undefined;

  /** The cache of this class and of those derived from it; `null` for none. Of two applications in a process the last is heard. */
  static useCache(this: EntityClass, cache: CacheService | null): void {
    CACHES.set(this, cache);
  }

  /** Called by TypeORM for each entity of a data source. */
  static override useDataSource(dataSource: DataSource | null): void {
    super.useDataSource(dataSource);
    if (dataSource !== null && !dataSource.subscribers.includes(SUBSCRIBER)) dataSource.subscribers.push(SUBSCRIBER);
  }

  /**
   * The result of a query, from the cache or by running it. A query builder or an async iterable is read to its end.
   * @param name What the query is called among those of the class. What distinguishes two calls goes to `args`.
   * @throws CacheConfigurationError for wrong options; whatever the query throws.
   */
  static cachedQuery<T>(
    this: EntityClass,
    name: string,
    query: () => { getMany(): Promise<T[]> } | AsyncIterable<T>,
    options?: CachedQueryOptions,
  ): Promise<T[]>;
  static cachedQuery<T>(
    this: EntityClass,
    name: string,
    query: () => Promise<T>,
    options?: CachedQueryOptions,
  ): Promise<T>;
  static async cachedQuery(
    this: EntityClass,
    name: string,
    query: () => unknown,
    options: CachedQueryOptions = {},
  ): Promise<unknown> {
    const where = `${this.name}.cachedQuery('${String(name)}')`;
    if (typeof name !== 'string' || name === '')
      throw new CacheConfigurationError(`${where}: the name is a non-empty text; write cachedQuery('featured', …)`);
    const compute = async (): Promise<unknown> => {
      const result = await query();
      return isQueryset(result) ? collect(result, where) : result;
    };
    const cache = cacheOf(this);
    if (cache === null) {
      warnOnce(this);
      return compute();
    }
    const { args = [], tenant, within, tags = [], domains = [], ttl = this.cacheTtl, ...rest } = options;
    const own = dependenciesOf(this);
    const view = `${this.name}.${name}`;
    const policyOf = (watched: readonly string[]): Policy =>
      cache.engine.policy(
        { ...rest, ttl, tags: [...own.free, ...tags], domains: [...own.domains, ...domains, ...watched] },
        view,
        where,
        registryOf(this),
      );
    let policy = policyOf([]);
    const tenantId = await cache.tenantId(tenant, `${where}: tenant`);
    if (within !== undefined && transactions.open([within]) !== undefined)
      return cache.engine.computeUncached(compute, policy, 'transaction');
    try {
      policy = policyOf(await domainsOf(this, cache));
    } catch {
      return cache.engine.computeUncached(compute, policy);
    }
    // Two entities may have one name; their tables have not.
    const key = cache.keys.buildMethodKey({ name: view, tenantId, key: ['cachedQuery', tableOf(this), args] });
    return cache.engine.readThrough(key, compute, policy, tenantId);
  }

  /**
   * Make void all cached queries of the class, as writing an entity does: after SQL past TypeORM, say.
   * @param within A transaction, with whose commit it takes effect: an `EntityManager` or `QueryRunner`.
   */
  static async invalidateCache(this: EntityClass, within?: QueryRunner | DataSource['manager']): Promise<void> {
    const cache = cacheOf(this);
    // Where nothing could be installed nothing is cached, and a statement that fails would end the transaction.
    const store = cache?.engine.store as { availability?: { state: string } } | undefined;
    if (cache === null || store?.availability?.state === 'off') return;
    const open = within ?? transactions.open()?.queryable;
    await cache.engine.invalidate({ ...dependenciesOf(this), domains: [] }, open);
  }

  /** Empties the table, which TypeORM tells no subscriber. */
  static override async clear<T extends BaseEntity>(this: { new (): T } & typeof BaseEntity): Promise<void> {
    await super.clear();
    await (this as unknown as EntityClass).invalidateCache();
  }
}

type EntityClass = typeof CachedEntity;

const CACHES = new WeakMap<object, CacheService | null>();
const REGISTRIES = new WeakMap<DataSource, WeakMap<object, ClassRegistry>>();
const warned = new WeakSet<object>();

/** Injection token of {@link cachedEntities}. */
const CACHED_ENTITIES = Symbol('CACHED_ENTITIES');

/**
 * Gives the application's cache to all {@link CachedEntity} classes.
 * @param cache A cache of `CacheModule.forFeature`. Default: the module's.
 * @example
 * @Module({ imports: [CacheModule.forRoot(…), TypeOrmModule.forRoot(…)], providers: [cachedEntities()] })
 */
export function cachedEntities(cache?: string): FactoryProvider<void> {
  return {
    provide: CACHED_ENTITIES,
    useFactory: (service: CacheService) => CachedEntity.useCache(service),
    inject: [getCacheToken(cache)],
  };
}

function cacheOf(type: object): CacheService | null {
  for (let link: object | null = type; link !== null; link = Object.getPrototypeOf(link) as object | null) {
    const cache = CACHES.get(link);
    if (cache !== undefined) return cache;
  }
  return null;
}

function warnOnce(type: EntityClass): void {
  if (warned.has(type)) return;
  warned.add(type);
  logger.warn(
    `Queries of ${type.name} run without the cache, because none was given. Write providers: [cachedEntities()], or CachedEntity.useCache(cache); in a unit test, ignore this.`,
  );
}

function tableOf(type: EntityClass): string {
  return metadataOf(type).tablePath;
}

function metadataOf(type: EntityClass): EntityMetadata {
  return (type as unknown as typeof BaseEntity).getRepository().metadata;
}

/** What cached queries of the class depend on. The table's own tag also reaches classes that share it. */
function dependenciesOf(type: EntityClass): Dependencies {
  return { domains: type.cacheDomains, free: [...type.cacheTags, `entity:${tableOf(type)}`], rows: [] };
}

/** The domain that its table feeds, where it is watched: triggers see also what no subscriber is told. */
async function domainsOf(type: EntityClass, { engine: { store } }: CacheService): Promise<string[]> {
  if (!(store instanceof PostgresCache)) return [];
  const metadata = metadataOf(type);
  const { watching } = await new WatchedEntities(store, metadata.dataSource).look();
  const watched = watching(metadata);
  return watched === undefined ? [] : [watched.domain];
}

/** Every entity of the data source may be part of a result, in a process too that never computed one. */
function registryOf(type: EntityClass): ClassRegistry {
  const { dataSource } = metadataOf(type);
  let registries = REGISTRIES.get(dataSource);
  if (registries === undefined) REGISTRIES.set(dataSource, (registries = new WeakMap()));
  let registry = registries.get(type);
  if (registry === undefined) {
    const classes = dataSource.entityMetadatas
      .flatMap((metadata) => [metadata.target, ...metadata.allEmbeddeds.map((embedded) => embedded.type as unknown)])
      .filter((target): target is Class & { name: string } => typeof target === 'function');
    // Of two by one name neither is known beforehand.
    const unique = [...new Set(classes)].filter(
      (one, _index, all) => all.filter(({ name }) => name === one.name).length === 1,
    );
    registries.set(type, (registry = new ClassRegistry(unique)));
  }
  return registry;
}

function isQueryset(value: unknown): value is Queryset<unknown> {
  return typeof value === 'object' && value !== null && ('getMany' in value || Symbol.asyncIterator in value);
}

/** Statements not yet sent, by connection: the entities of one `save` are told of in the same turn. */
const pending = new WeakMap<QueryRunner, { types: Set<EntityClass>; sent: Promise<void> }>();

/** Make void what depends on a written entity, on the connection of the write: in its transaction, if there is one. */
async function written({
  metadata,
  queryRunner,
}: {
  metadata: EntityMetadata;
  queryRunner: QueryRunner;
}): Promise<void> {
  // A row of a junction table belongs to the entities on both sides.
  const targets = metadata.isJunction
    ? metadata.foreignKeys.map(({ referencedEntityMetadata }) => referencedEntityMetadata.target)
    : [metadata.target];
  const types = targets.filter(isCachedEntity).filter((type) => cacheOf(type) !== null);
  if (types.length === 0) return;
  let batch = pending.get(queryRunner);
  if (batch === undefined) {
    const gathered = new Set<EntityClass>();
    const sent = Promise.resolve().then(async () => {
      pending.delete(queryRunner);
      for (const type of gathered) await type.invalidateCache(queryRunner);
    });
    pending.set(queryRunner, (batch = { types: gathered, sent }));
  }
  for (const type of types) batch.types.add(type);
  await batch.sent;
}

function isCachedEntity(target: unknown): target is EntityClass {
  return typeof target === 'function' && target.prototype instanceof CachedEntity;
}

const SUBSCRIBER = {
  afterInsert: written,
  afterUpdate: written,
  afterRemove: written,
  afterSoftRemove: written,
  afterRecover: written,
};
