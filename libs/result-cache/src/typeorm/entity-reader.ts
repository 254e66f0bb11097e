import { Logger } from '@nestjs/common';
import {
  type DataSource,
  type EntityMetadata,
  type FindManyOptions,
  type ObjectLiteral,
  type QueryRunner,
  type Repository,
  type SelectQueryBuilder,
} from 'typeorm';
import { CacheConfigurationError } from '../core/errors.js';
import { type EntryOptions, type Policy } from '../core/policy.js';
import { type Dependencies } from '../core/store.js';
import { transactions } from '../core/transactions.js';
import { ClassRegistry, type Class } from '../core/values/index.js';
import { type CacheService } from '../module/cache.service.js';
import { PostgresCache } from '../postgres/postgres-cache.js';
import { type WatchedRelation } from '../postgres/watched-table.js';
import { isBare } from './bare-builder.js';
import { learnClasses } from './entity-classes.js';
import { builtFootprint, findFootprint } from './find-footprint.js';
import { type Footprint, type Watching } from './footprint.js';
import { joinedRows, type RawRow } from './joined-rows.js';
import { copyOf } from './options-copy.js';
import { QueryMemory } from './query-memory.js';
import { checkReadOptions, managerOf, type EntityReadOptions } from './read-options.js';
import { WatchedEntities } from './watched-entities.js';

/** What is asked of a query. Each has its own entries. */
export type Kind = 'find' | 'findOne' | 'findAndCount' | 'count' | 'exists' | 'getRawMany';

const returnsEntities = (kind: Kind): boolean => kind === 'find' || kind === 'findOne' || kind === 'findAndCount';

/** The parts of find options that the SQL of the query does not show in full. */
const SHAPE = ['select', 'order', 'relations', 'loadEagerRelations', 'loadRelationIds', 'withDeleted'] as const;

/** A query, ready to be run. */
interface Query {
  kind: Kind;
  qb: SelectQueryBuilder<any>;
  /** Whether the builder is ours to change. */
  isOwn: boolean;
  /** What distinguishes it beside its SQL. */
  shape: unknown;
  sql: string;
  parameters: unknown[];
  footprintOf: (watching: Watching) => Footprint;
}

/** What the cache is told about one read. */
interface Plan {
  dependencies: Dependencies;
  /** The metadata do not account for all of it: what it reads is found from its statements when they run. */
  infers: boolean;
  /** Every table it could depend on, as a whole. */
  domains: string[];
  footprint: Footprint;
  entities: Iterable<EntityMetadata>;
  /** The tables' names in the database, for the key. */
  tables: string[];
  domainOf: (metadata: EntityMetadata) => string;
  watching: Watching;
  /** Whether tables are still watched as they were when this was made. */
  holds: () => Promise<boolean>;
  /** What it was made from, beside the query. */
  from: readonly unknown[];
}

/** What a read came to that can be asked again. */
interface Known {
  plan: Plan;
  identity: readonly unknown[];
  /** For whom it was found to be right: under row-level security that decides whether it may be cached at all. */
  isAnybodys: boolean;
  isKeyless: boolean;
}

/** A read that cannot be cached, and why. */
class Uncacheable {
  constructor(readonly why: string) {}
}

/** What cached repositories read by. */
export interface Reader {
  /** Read by find options. */
  find<T>(kind: Kind, repository: Repository<any>, options: FindManyOptions<any>, how: EntityReadOptions): Promise<T>;
  /** Read by a query builder. */
  built<T>(kind: Kind, given: SelectQueryBuilder<any>, how: EntityReadOptions): Promise<T>;
}

/** Reads the entities of one DataSource through one cache. */
export class EntityReader implements Reader {
  private readonly logger = new Logger('ResultCache');
  private readonly told = new Set<string>();
  private readonly registries = new Map<string, ClassRegistry>();
  private readonly memory = new QueryMemory<Known>();

  constructor(
    private readonly cache: CacheService,
    /** In keys, beside the entity's name. */
    private readonly sourceName: string,
    private readonly classes: readonly Class[] = [],
  ) {}

  async find<T>(
    kind: Kind,
    repository: Repository<any>,
    options: FindManyOptions<any>,
    how: EntityReadOptions,
  ): Promise<T> {
    const within = managerOf(how.within);
    const home = within === undefined ? repository : within.getRepository<ObjectLiteral>(repository.target);
    checkReadOptions(how, viewOf(this.sourceName, home.metadata.name, kind));
    const name = within === undefined ? this.memory.nameOf(kind, home, options) : undefined;
    if (name !== undefined && how.skipCache !== true && this.memory.has(home.metadata, name))
      return this.findAgain<T>(kind, home, name, how);
    const isLocking = options.lock !== undefined || options.transaction === true;
    const own = name === undefined ? copyOf(options) : this.memory.optionsOf(name);
    return this.read<T>(this.found(kind, home, own), how, isLocking, name);
  }

  /** As {@link find}, of options that were read before. */
  private async findAgain<T>(kind: Kind, home: Repository<any>, name: string, how: EntityReadOptions): Promise<T> {
    const query = (): Query => this.found(kind, home, this.memory.optionsOf(name));
    const { metadata } = home;
    if (!isBare(home.createQueryBuilder(metadata.name), home)) return this.read<T>(query(), how, false, name);
    const { store } = this.cache.engine;
    const from = await this.origin(store as PostgresCache, home.manager.dataSource ?? home.manager.connection).catch(
      () => null,
    );
    const known = from === null ? undefined : this.memory.recall(metadata, name, from);
    if (known === undefined || transactions.open([home.manager.queryRunner]) !== undefined)
      return this.read<T>(query(), how, false, name);
    const view = viewOf(this.sourceName, metadata.name, kind);
    const tenantId = await this.cache.tenantId(how.tenant, `${view}: tenant`);
    const key = this.keyOf(known.identity, view, tenantId, how.key);
    const isKeyless = how.key === undefined;
    const isAnybodys = tenantId === undefined && isKeyless;
    return key instanceof Uncacheable || known.isAnybodys !== isAnybodys || known.isKeyless !== isKeyless
      ? this.read<T>(query(), how, false, name)
      : this.serve<T>(view, key, tenantId, query, known.plan, how);
  }

  private found(kind: Kind, home: Repository<any>, options: FindManyOptions<any>): Query {
    const qb = home.createQueryBuilder(home.metadata.name);
    const why = isBare(qb, home) ? undefined : 'its repository adds something of its own to every query';
    const added = why === undefined ? undefined : shapeOf(qb);
    qb.setFindOptions(options);
    const shape = {
      ...Object.fromEntries(SHAPE.filter((key) => options[key] !== undefined).map((key) => [key, options[key]])),
      ...(added && { added }),
    };
    const [sql, parameters] = qb.getQueryAndParameters();
    const returnsRows = returnsEntities(kind);
    const footprintOf = (watching: Watching): Footprint => {
      const footprint = findFootprint(qb, options, parameters, watching, returnsRows);
      if (why !== undefined) footprint.opaque ??= why;
      return footprint;
    };
    return { kind, qb, isOwn: true, shape, sql, parameters, footprintOf };
  }

  async built<T>(kind: Kind, given: SelectQueryBuilder<any>, how: EntityReadOptions): Promise<T> {
    const name = given.expressionMap.mainAlias?.hasMetadata ? given.expressionMap.mainAlias.metadata.name : 'query';
    checkReadOptions(how, viewOf(this.sourceName, name, kind));
    const footprint = builtFootprint(given);
    // A clone forgets relations that are loaded by queries of their own; such a query is not cached anyway.
    const qb = footprint.opaque === undefined ? given.clone() : given;
    if (qb !== given) qb.expressionMap.parameters = copyOf(qb.expressionMap.parameters);
    const runner = runnerOf(how.within);
    if (runner !== undefined) qb.setQueryRunner(runner);
    const [sql, parameters] = qb.getQueryAndParameters();
    const shape = { ...shapeOf(qb), built: true };
    const { lockMode, useTransaction } = qb.expressionMap;
    return this.read<T>(
      { kind, qb, isOwn: qb !== given, shape, sql, parameters, footprintOf: () => footprint },
      how,
      lockMode !== undefined || useTransaction,
    );
  }

  /** @param name Under which to remember the query. */
  private async read<T>(query: Query, how: EntityReadOptions, isLocking: boolean, name?: string): Promise<T> {
    const { engine } = this.cache;
    const { kind, qb } = query;
    const main = qb.expressionMap.mainAlias;
    const entity = main?.hasMetadata ? main.metadata : undefined;
    const view = viewOf(this.sourceName, entity?.name ?? 'query', kind);
    const { ttl, freshness, tags, key: extra } = how;
    const registry = this.registry(view);
    const policyOf = (dependencies: Pick<EntryOptions, 'domains' | 'rows'>, discovers?: boolean): Policy =>
      engine.policy({ ttl, freshness, ...dependencies, tags, discovers }, view, view, registry);
    const unknown = policyOf({}, true);
    const run = async (): Promise<T> => (await METHODS[kind](qb)) as T;
    const manager: unknown = qb.expressionMap && (qb as unknown as { queryRunner?: QueryRunner }).queryRunner;
    if (transactions.open([manager, how.within]) !== undefined)
      return engine.computeUncached(run, unknown, 'transaction');
    const tenantId = await this.cache.tenantId(how.tenant, `${view}: tenant`);
    const isAnybodys = tenantId === undefined && extra === undefined;
    const isKeyless = extra === undefined;
    const plan = isLocking ? new Uncacheable('it locks rows') : await this.plan(query, isAnybodys, isKeyless);
    const identity = plan instanceof Uncacheable ? [] : identityOf(query, plan);
    const key = plan instanceof Uncacheable ? plan : this.keyOf(identity, view, tenantId, extra);
    if (plan instanceof Uncacheable || key instanceof Uncacheable) {
      const { why } = key as Uncacheable;
      if (!isLocking) this.tell(view, why);
      // A cached value around it depends on what nobody can tell here.
      return engine.computeUncached(async () => {
        engine.doNotKeep(why);
        return run();
      }, unknown);
    }
    if (how.skipCache === true)
      return engine.computeUncached(
        () => {
          if (plan.infers) engine.doNotKeep('it reads past the cache what only its statements tell');
          return this.run<T>(query);
        },
        policyOf({ domains: plan.domains }),
      );

    if (name !== undefined && !plan.infers)
      this.memory.keep(entity!, name, {
        from: plan.from,
        entities: plan.entities,
        value: { plan, identity, isAnybodys, isKeyless },
      });
    return this.serve<T>(view, key, tenantId, () => query, plan, how);
  }

  /** @param query Called when the value has to be computed. */
  private async serve<T>(
    view: string,
    key: string,
    tenantId: string | undefined,
    query: () => Query,
    plan: Plan,
    { ttl, freshness, tags }: EntityReadOptions,
  ): Promise<T> {
    const { engine } = this.cache;
    const registry = this.registry(view);
    learnClasses(plan.entities, registry);
    const hasOpen = !plan.infers && plan.footprint.open.length > 0;
    const compute = async (): Promise<T> => {
      // Asked behind the fence: what changes from now on makes void what is read.
      if (!(await plan.holds())) engine.doNotKeep('its tables have just come to be watched in another way');
      const current = query();
      // Its joins are objects of its own.
      const footprint = hasOpen ? current.footprintOf(plan.watching) : plan.footprint;
      return this.run<T>(current, async (raw) => {
        if (!hasOpen) return;
        await engine.dependOn(this.discovered({ ...plan, footprint }, raw, current.qb.expressionMap.mainAlias!.name));
      });
    };
    const { domains, rows } = plan.dependencies;
    const dependencies = plan.infers
      ? ({ domains: 'infer' } as const)
      : { domains, rows: rows as EntryOptions['rows'], discovers: hasOpen };
    const policy = engine.policy({ ttl, freshness, tags, ...dependencies }, view, view, registry);
    return engine.readThrough(key, compute, policy, tenantId);
  }

  private keyOf(
    identity: readonly unknown[],
    view: string,
    tenantId: string | undefined,
    extra: unknown,
  ): string | Uncacheable {
    try {
      return this.cache.keys.buildMethodKey({
        name: view,
        tenantId,
        key: [...identity, extra],
      });
    } catch (error) {
      if (!(error instanceof CacheConfigurationError)) throw error;
      return new Uncacheable(`a parameter of it cannot be part of a key (${error.message})`);
    }
  }

  private async origin(store: PostgresCache, source: DataSource): Promise<readonly unknown[]> {
    const { byName, tableOf } = await new WatchedEntities(store, source).look();
    return [byName, tableOf];
  }

  /**
   * What the query depends on, or why it cannot be cached.
   * @param isAnybodys Whether nothing tells for whom it is read.
   */
  private async plan(query: Query, isAnybodys: boolean, isKeyless: boolean): Promise<Plan | Uncacheable> {
    const { qb, kind } = query;
    const { store } = this.cache.engine;
    const source = sourceOf(qb);
    if (!(store instanceof PostgresCache)) return new Uncacheable('the cache lives in no PostgreSQL');
    if (!query.isOwn && qb.expressionMap.cache === true)
      return new Uncacheable("it asks for TypeORM's own cache, which answers with old data; leave out .cache(…)");
    const { queryRunner } = qb as unknown as { queryRunner?: QueryRunner };
    if (isReplicated(source) && queryRunner?.getReplicationMode() === 'slave')
      return new Uncacheable('it reads from a replica, which may be behind; use a QueryRunner of the primary, or none');
    const { cache: ownCache } = source.options;
    if (typeof ownCache === 'object' && ownCache !== null && 'alwaysEnabled' in ownCache && ownCache.alwaysEnabled)
      return new Uncacheable(
        "the DataSource's own cache is always enabled, and answers with old data; leave out cache.alwaysEnabled",
      );
    let known: Awaited<ReturnType<WatchedEntities['look']>>;
    try {
      known = await new WatchedEntities(store, source).look();
    } catch (error) {
      return new Uncacheable(
        `the database could not be asked how its tables are watched (${(error as Error).message})`,
      );
    }
    const footprint = query.footprintOf(known.watching);
    const domains = new Set<string>();
    const all = new Set([
      ...footprint.whole,
      ...footprint.rows.map(([metadata]) => metadata),
      ...metadatasOf(query),
      ...footprint.open.flatMap(({ relation }) => relation!.junctionEntityMetadata ?? []),
    ]);
    const guards = [...all].map((metadata) => known.watching(metadata)?.guarded);
    if (guards.includes('elsewhere')) footprint.opaque ??= 'row-level security reads other tables with it';
    const infers = footprint.opaque !== undefined;
    if (isAnybodys && guards.some((guard) => guard !== undefined))
      return new Uncacheable(
        "row-level security decides what of it is seen, and neither a tenant nor a key tells for whom: write { key: role } (or { key: 'all' } where every connection sees the same)",
      );
    if (isKeyless && qb.expressionMap.relationIdAttributes.some(({ queryBuilderFactory }) => queryBuilderFactory))
      return new Uncacheable(
        "loadRelationIdAndMap has a query of its own, which the key does not show: write { key: 'what it asks for' }",
      );
    // No table's write tells of it, and no key.
    if (infers && SESSION_INPUTS.test(query.sql))
      return new Uncacheable('its SQL reads what the connection holds (current_user, current_setting, …)');
    for (const metadata of all) {
      if (infers) break;
      const watched = known.watching(metadata);
      if (watched === undefined) return new Uncacheable(notWatched(`${metadata.tablePath} of ${metadata.name}`));
    }
    const lazy = [...all].find(({ lazyRelations }) => lazyRelations.length > 0);
    if (lazy !== undefined && returnsEntities(kind))
      return new Uncacheable(
        `${lazy.name} has lazy relations (${lazy.lazyRelations.map(({ propertyName }) => propertyName).join(', ')}), which a cached entity could not load; ask for them with relations, and make them plain`,
      );
    const domainOf = (metadata: EntityMetadata): string => known.watching(metadata)!.domain;
    for (const metadata of footprint.whole) if (known.watching(metadata)) domains.add(domainOf(metadata));
    const rows = footprint.rows
      .map(([metadata, values]) => [domainOf(metadata), values, true] as const)
      .filter(([domain]) => !domains.has(domain));
    return {
      dependencies: { domains: [...domains], rows, free: [] },
      infers,
      domains: [...new Set([...domains, ...[...all].filter(known.watching).map(domainOf)])],
      footprint,
      entities: all,
      tables: [...all].map((metadata) => known.tableOf.get(metadata) ?? '').sort(),
      domainOf,
      watching: known.watching,
      holds: () =>
        store.watchedRelations().then(
          (relations) => isEqual(relations, known.byName),
          () => false,
        ),
      from: [known.byName, known.tableOf],
    };
  }

  /** Dependencies on what the joins read, known from the rows that came back. */
  private discovered(
    { footprint, dependencies, domainOf, watching }: Plan,
    raw: readonly RawRow[] | undefined,
    main: string,
  ): Partial<Dependencies> {
    const found =
      raw === undefined
        ? {
            whole: new Set(
              footprint.open.flatMap(({ relation }) => [
                relation!.inverseEntityMetadata,
                ...(relation!.junctionEntityMetadata ? [relation!.junctionEntityMetadata] : []),
              ]),
            ),
            rows: [],
          }
        : joinedRows(footprint, raw, main, watching);
    const domains = new Set([...found.whole].map(domainOf));
    const rows = found.rows
      .map(([metadata, values]) => [domainOf(metadata), values, true] as const)
      .filter(([domain]) => !domains.has(domain) && !dependencies.domains.includes(domain));
    return { domains: [...domains], rows };
  }

  /** Run the query, on the primary; `told` gets the rows that came back, where they can be seen. */
  private async run<T>({ kind, qb, isOwn }: Query, told?: (raw: readonly RawRow[] | undefined) => unknown): Promise<T> {
    // TypeORM's own cache knows nothing of writes.
    if (isOwn) qb.cache(false);
    const source = sourceOf(qb);
    const { queryRunner } = qb as unknown as { queryRunner?: QueryRunner };
    // A replica may be behind the fence, which comes from the primary.
    const runner = isReplicated(source) && queryRunner === undefined ? source.createQueryRunner('master') : undefined;
    if (runner !== undefined) qb.setQueryRunner(runner);
    try {
      const rows = told && tapped(qb);
      const value = (await METHODS[kind](qb)) as T;
      await told?.(rows?.());
      return value;
    } finally {
      await runner?.release();
    }
  }

  private registry(view: string): ClassRegistry {
    let registry = this.registries.get(view);
    if (registry === undefined) this.registries.set(view, (registry = new ClassRegistry(this.classes)));
    return registry;
  }

  /** Once for each reason. */
  private tell(view: string, why: string): void {
    const text = `${view} is not cached: ${why}`;
    if (this.told.has(text) || this.told.size > 1_000) return;
    this.told.add(text);
    this.logger.warn(text);
  }
}

/** What distinguishes a query from others. */
function identityOf({ qb, sql, parameters, shape }: Query, { tables }: Plan): readonly unknown[] {
  const { skip, take, relationLoadStrategy } = qb.expressionMap;
  return [tables, sql, parameters, shape, skip ?? null, take ?? null, relationLoadStrategy];
}

/** What of a builder its SQL does not show. */
function shapeOf({ expressionMap: map }: SelectQueryBuilder<any>): Record<string, unknown> {
  const joins = map.joinAttributes.map(({ alias, mapToProperty, isMappingMany, mapAsEntity }) => [
    alias.name,
    mapToProperty,
    isMappingMany,
    typeof mapAsEntity === 'function' ? mapAsEntity.name : mapAsEntity,
  ]);
  const ids = map.relationIdAttributes.map(({ relationName, mapToProperty, disableMixedMap }) => [
    relationName,
    mapToProperty,
    disableMixedMap,
  ]);
  const { options, withDeleted } = map;
  return { joins, ids, options, withDeleted };
}

/** What SQL can ask of the session it runs in. */
const SESSION_INPUTS =
  /(?<!["'\w.])(current_(user|role|setting|schemas?|catalog|database|query)|session_user|user|inet_client_\w+)(?!["'\w])/i;

export const METHODS: Record<Kind, (qb: SelectQueryBuilder<any>) => Promise<unknown>> = {
  find: (qb) => qb.getMany(),
  findOne: (qb) => qb.getOne(),
  findAndCount: (qb) => qb.getManyAndCount(),
  count: (qb) => qb.getCount(),
  exists: (qb) => qb.getExists(),
  getRawMany: (qb) => qb.getRawMany(),
};

/** See the rows that a query's entities are made of. */
function tapped(qb: SelectQueryBuilder<any>): () => readonly RawRow[] | undefined {
  type Execute = (runner: QueryRunner) => Promise<{ raw: RawRow[]; entities: unknown[] }>;
  const target = qb as unknown as { executeEntitiesAndRawResults?: Execute };
  const execute = target.executeEntitiesAndRawResults;
  let raw: readonly RawRow[] | undefined;
  if (typeof execute === 'function')
    target.executeEntitiesAndRawResults = async (runner) => {
      const result = await execute.call(qb, runner);
      raw = result.raw;
      return result;
    };
  return () => raw;
}

/** Older TypeORM calls it the connection. */
function sourceOf(qb: SelectQueryBuilder<any>): DataSource {
  return qb.dataSource ?? (qb as unknown as { connection: DataSource }).connection;
}

function isReplicated({ options }: DataSource): boolean {
  return 'replication' in options && options.replication !== undefined;
}

/** Every entity that occurs in the query. */
function metadatasOf({ qb }: Query): EntityMetadata[] {
  return qb.expressionMap.aliases.filter(({ hasMetadata }) => hasMetadata).map(({ metadata }) => metadata);
}

function isEqual(a: ReadonlyMap<string, WatchedRelation>, b: ReadonlyMap<string, WatchedRelation>): boolean {
  return a === b || JSON.stringify([...a].sort()) === JSON.stringify([...b].sort());
}

function viewOf(source: string, entity: string, kind: Kind): string {
  return `typeorm.${source === 'default' ? '' : `${source}.`}${entity}.${kind}`;
}

function notWatched(table: string): string {
  return `the table ${table} is not watched; write TypeOrmCacheModule.forFeature([…]) or CacheModule.forFeature({ watch: […] }) with its entity`;
}

function runnerOf(within: EntityReadOptions['within']): QueryRunner | undefined {
  return managerOf(within)?.queryRunner;
}
