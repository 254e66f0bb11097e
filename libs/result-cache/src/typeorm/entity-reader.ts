import { Logger } from '@nestjs/common';
import { type FindManyOptions, type ObjectLiteral, type Repository, type SelectQueryBuilder } from 'typeorm';
import { CacheConfigurationError } from '../core/errors.js';
import { type EntryOptions, type Policy } from '../core/policy.js';
import { transactions } from '../core/transactions.js';
import { ClassRegistry, type Class } from '../core/values/index.js';
import { type CacheService } from '../module/cache.service.js';
import { type PostgresCache } from '../postgres/postgres-cache.js';
import { isBare } from './bare-builder.js';
import { dataSourceOf } from './data-source-of.js';
import { learnClasses } from './entity-classes.js';
import { builtQuery, foundQuery, METHODS, runnerOf, runQuery, type EntityQuery, type Kind } from './entity-query.js';
import { copyOf } from './options-copy.js';
import { QueryMemory } from './query-memory.js';
import { checkReadOptions, managerOf, type EntityReadOptions } from './read-options.js';
import { foundByJoins, identityOf, planRead, Uncacheable, type ReadPlan } from './read-plan.js';
import { WatchedEntities } from './watched-entities.js';

/** What a read came to that can be asked again. */
interface Known {
  plan: ReadPlan;
  identity: readonly unknown[];
  /** For whom it was found to be right: under row-level security that decides whether it may be cached at all. */
  isAnybodys: boolean;
  isKeyless: boolean;
  /** Of the tenant who asked last, because a key takes longer to make than a hit. Only for reads without a key of their own. */
  lastKey?: { tenantId: string | undefined; key: string };
  /** Of the options that were given last. */
  lastPolicy?: { ttl: EntityReadOptions['ttl']; freshness: EntityReadOptions['freshness']; policy: Policy };
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

  /** With no promise more than it takes: it is on every hit's way. */
  find<T>(kind: Kind, repository: Repository<any>, options: FindManyOptions<any>, how: EntityReadOptions): Promise<T> {
    try {
      return this.findNow<T>(kind, repository, options, how);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  private findNow<T>(
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
    const own = name === undefined ? copyOf(options) : this.memory.optionsOf(name);
    return this.read<T>(foundQuery(kind, home, own), how, name);
  }

  /** As {@link find}, of options that were read before. */
  private findAgain<T>(kind: Kind, home: Repository<any>, name: string, how: EntityReadOptions): Promise<T> {
    const query = (): EntityQuery => foundQuery(kind, home, this.memory.optionsOf(name));
    const { metadata, manager } = home;
    if (!isBare(home.createQueryBuilder(metadata.name), home)) return this.read<T>(query(), how, name);
    // What is not known at once is asked for by whoever makes the plan anew.
    const from = WatchedEntities.known(this.cache.engine.store as PostgresCache, dataSourceOf(manager));
    const known = from && this.memory.recall(metadata, name, from);
    if (known === undefined || transactions.open([manager.queryRunner]) !== undefined)
      return this.read<T>(query(), how, name);
    const view = viewOf(this.sourceName, metadata.name, kind);
    const serve = (tenantId: string | undefined): Promise<T> => {
      const isKeyless = how.key === undefined;
      const isAnybodys = tenantId === undefined && isKeyless;
      if (known.isAnybodys !== isAnybodys || known.isKeyless !== isKeyless) return this.read<T>(query(), how, name);
      const key = isKeyless
        ? this.keyAgain(known, view, tenantId)
        : this.keyOf(known.identity, view, tenantId, how.key);
      if (key instanceof Uncacheable) return this.read<T>(query(), how, name);
      return this.serve<T>(key, tenantId, query, known.plan, this.policyAgain(known, view, how));
    };
    const tenantId = this.cache.tenantOf(how.tenant, `${view}: tenant`);
    return typeof tenantId === 'object' ? Promise.resolve(tenantId).then(serve) : serve(tenantId);
  }

  private keyAgain(known: Known, view: string, tenantId: string | undefined): string | Uncacheable {
    const { lastKey } = known;
    if (lastKey !== undefined && lastKey.tenantId === tenantId) return lastKey.key;
    const key = this.keyOf(known.identity, view, tenantId, undefined);
    if (typeof key === 'string') known.lastKey = { tenantId, key };
    return key;
  }

  /** Remembered for options whose contents cannot have changed since. */
  private policyAgain(known: Known, view: string, how: EntityReadOptions): Policy {
    const { ttl, freshness, tags } = how;
    const { lastPolicy: last } = known;
    if (last !== undefined && tags === undefined && last.ttl === ttl && last.freshness === freshness)
      return last.policy;
    const policy = this.policy(view, known.plan, how);
    if (tags === undefined && typeof ttl !== 'object' && typeof freshness !== 'object')
      known.lastPolicy = { ttl, freshness, policy };
    return policy;
  }

  async built<T>(kind: Kind, given: SelectQueryBuilder<any>, how: EntityReadOptions): Promise<T> {
    const name = given.expressionMap.mainAlias?.hasMetadata ? given.expressionMap.mainAlias.metadata.name : 'query';
    checkReadOptions(how, viewOf(this.sourceName, name, kind));
    return this.read<T>(builtQuery(kind, given, managerOf(how.within)?.queryRunner), how);
  }

  /** @param name Under which to remember the query. */
  private async read<T>(query: EntityQuery, how: EntityReadOptions, name?: string): Promise<T> {
    const { engine } = this.cache;
    const { kind, qb, locks } = query;
    const main = qb.expressionMap.mainAlias;
    const entity = main?.hasMetadata ? main.metadata : undefined;
    const view = viewOf(this.sourceName, entity?.name ?? 'query', kind);
    const { ttl, freshness, tags, key: extra } = how;
    const registry = this.registry(view);
    const policyOf = (dependencies: Pick<EntryOptions, 'domains' | 'rows'>, discovers?: boolean): Policy =>
      engine.policy({ ttl, freshness, ...dependencies, tags, discovers }, view, view, registry);
    const unknown = policyOf({}, true);
    const run = async (): Promise<T> => (await METHODS[kind](qb)) as T;
    if (transactions.open([runnerOf(qb), how.within]) !== undefined)
      return engine.computeUncached(run, unknown, 'transaction');
    const tenantId = await this.cache.tenantId(how.tenant, `${view}: tenant`);
    const isAnybodys = tenantId === undefined && extra === undefined;
    const isKeyless = extra === undefined;
    const plan = locks ? new Uncacheable('it locks rows') : await planRead(query, engine.store, isAnybodys, isKeyless);
    const identity = plan instanceof Uncacheable ? [] : identityOf(query, plan);
    const key = plan instanceof Uncacheable ? plan : this.keyOf(identity, view, tenantId, extra);
    if (plan instanceof Uncacheable || key instanceof Uncacheable) {
      const { why } = key as Uncacheable;
      if (!locks) this.tell(view, why);
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
          return runQuery<T>(query);
        },
        policyOf({ domains: plan.domains }),
      );

    if (name !== undefined && !plan.infers)
      this.memory.keep(entity!, name, {
        from: plan.from,
        entities: plan.entities,
        value: { plan, identity, isAnybodys, isKeyless },
      });
    return this.serve<T>(key, tenantId, () => query, plan, this.policy(view, plan, how));
  }

  /** @param query Called when the value has to be computed. */
  private serve<T>(
    key: string,
    tenantId: string | undefined,
    query: () => EntityQuery,
    plan: ReadPlan,
    policy: Policy,
  ): Promise<T> {
    const { engine } = this.cache;
    const hasOpen = learnsByJoins(plan);
    const compute = async (): Promise<T> => {
      // Asked behind the fence: what changes from now on makes void what is read.
      if (!(await plan.holds())) engine.doNotKeep('its tables have just come to be watched in another way');
      const current = query();
      // Its joins are objects of its own.
      const footprint = hasOpen ? current.footprintOf(plan.watching) : plan.footprint;
      return runQuery<T>(current, async (raw) => {
        if (!hasOpen) return;
        await engine.dependOn(foundByJoins({ ...plan, footprint }, raw, current.qb.expressionMap.mainAlias!.name));
      });
    };
    return engine.readThrough(key, compute, policy, tenantId);
  }

  /** How a read is cached, whose registry knows the classes it can return. */
  private policy(view: string, plan: ReadPlan, { ttl, freshness, tags }: EntityReadOptions): Policy {
    const registry = this.registry(view);
    learnClasses(plan.entities, registry);
    const { domains, rows } = plan.dependencies;
    const dependencies = plan.infers
      ? ({ domains: 'infer' } as const)
      : { domains, rows: rows as EntryOptions['rows'], discovers: learnsByJoins(plan) };
    return this.cache.engine.policy({ ttl, freshness, tags, ...dependencies }, view, view, registry);
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

/** Whether some of its rows are known only when the query has been run. */
function learnsByJoins({ infers, footprint }: ReadPlan): boolean {
  return !infers && footprint.open.length > 0;
}

function viewOf(source: string, entity: string, kind: Kind): string {
  return `typeorm.${source === 'default' ? '' : `${source}.`}${entity}.${kind}`;
}
