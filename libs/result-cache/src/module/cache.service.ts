import { type Dependencies } from '../core/dependencies.js';
import { CacheConfigurationError } from '../core/errors.js';
import { type Fence } from '../core/fence.js';
import { type CacheKeyBuilder } from '../core/keys.js';
import { type DependencyOptions, type EntryOptions } from '../core/policy.js';
import { type ResultCache, type SetOptions } from '../core/result-cache.js';
import { type CacheStats } from '../core/stats.js';
import { type PurgeResult, type Queryable } from '../core/store.js';
import { transactions } from '../core/transactions.js';
import { type Tenancy, type TenantContext } from '../tenancy/index.js';
import { type MaybePromise } from '../tenancy/maybe-promise.js';
import { toTenantId } from '../tenancy/tenant-id.js';
import { absentInstance, cachedMethods, typeOf } from './method-invalidation.js';

/** Options of one call. */
export interface CallOptions {
  /** Whose value: a tenant's, or `'shared'` for one value that is right for all. Default: the current tenant's. */
  tenant?: TenantChoice;
}

/** Options of {@link CacheService.getOrSet} beside those of the entry. */
export interface ComputeOptions {
  /**
   * The transaction the value is computed in, where the cache cannot see it by itself: TypeORM's `EntityManager` or
   * `QueryRunner`, or a `pg` client. While it is open the value is computed and not stored.
   */
  within?: Queryable;
}

/** Options of {@link CacheService.invalidateMethod}. */
export interface InvalidateMethodOptions extends CallOptions {
  /** A transaction of yours, with whose commit it takes effect. One that the cache sees by itself need not be named. */
  within?: Queryable;
}

/** Options of a value: how it is cached, and whose it is. */
export type ValueOptions = Omit<EntryOptions, 'tenantId'> & CallOptions;

/** `'current'`: the tenant of the request or job. `'shared'`: nobody's. Otherwise a tenant's id. */
export type TenantChoice = 'current' | 'shared' | { id: string };

/** Who caches under a name: a method, of a class, on an object (unknown before there is one). */
interface ViewHolder {
  method: { readonly hasHiddenState: boolean };
  type: { readonly name: string };
  instance?: object | undefined;
}

/**
 * The cache as an application uses it: keys belong to the current tenant, values to whoever may see them.
 *
 * @example
 * constructor(private readonly cache: CacheService) {}
 * report(year: number) {
 *   return this.cache.getOrSet(`report:${year}`, () => this.compute(year), { domains: ['order'], ttl: '10m' });
 * }
 */
export class CacheService {
  private readonly claims = new Map<string, { method: object; type: object; instance?: WeakRef<object> }>();

  constructor(
    /** The engine below, whose keys are whole and know no tenants. */
    readonly engine: ResultCache,
    /** Builds the whole keys. */
    readonly keys: CacheKeyBuilder,
    private readonly tenancy: Tenancy,
    private readonly tenants: TenantContext,
  ) {}

  get name(): string {
    return this.engine.name;
  }

  /**
   * The value of a key, computed and stored if it is missing. If the cache cannot be asked, the value is just computed.
   * @throws MissingTenantError where a tenant is required and none is known; whatever `compute` throws.
   */
  async getOrSet<T>(key: string, compute: () => Promise<T>, options: ValueOptions & ComputeOptions): Promise<T> {
    const { tenant, within, ...entry } = options;
    // Not the key, which may hold personal data, in a message.
    const policy = this.engine.policy({ view: 'getOrSet', ...entry }, undefined, 'getOrSet');
    const tenantId = await this.tenantId(tenant);
    if (within !== undefined && transactions.open([within]) !== undefined)
      return this.engine.computeUncached(compute, policy, 'transaction');
    return this.engine.readThrough(this.keys.buildValueKey({ key, tenantId }), compute, policy, tenantId);
  }

  /** The value of a key, or `undefined`. */
  async get<T = unknown>(key: string, options?: CallOptions): Promise<T | undefined> {
    const tenantId = await this.tenantId(options?.tenant);
    return this.engine.get<T>(this.keys.buildValueKey({ key, tenantId }), tenantId);
  }

  /** Several values in one statement; keys without one are missing from the map. */
  async getMany<T = unknown>(keys: readonly string[], options?: CallOptions): Promise<Map<string, T>> {
    const tenantId = await this.tenantId(options?.tenant);
    const whole = keys.map((key) => this.keys.buildValueKey({ key, tenantId }));
    const found = await this.engine.getMany<T>(whole, tenantId);
    return new Map(
      keys.flatMap((key, index) => (found.has(whole[index]!) ? [[key, found.get(whole[index]!) as T]] : [])),
    );
  }

  /** Whether there is a value, whatever it is. */
  async exists(key: string, options?: CallOptions): Promise<boolean> {
    return this.engine.exists(await this.key(key, options));
  }

  /** Store a value; see `ResultCache.set` for why one that depends on anything needs a fence. Returns whether it was stored. */
  async set(
    key: string,
    value: unknown,
    options: Omit<SetOptions, 'tenantId'> & CallOptions = { untracked: true },
  ): Promise<boolean> {
    const { tenant, ...entry } = options;
    const tenantId = await this.tenantId(tenant);
    return this.engine.set(this.keys.buildValueKey({ key, tenantId }), value, { view: 'set', ...entry, tenantId });
  }

  /**
   * Run `work` with one fence for all that is computed in it, so that computations may use what was read earlier in it (by a
   * DataLoader). See `ResultCache.withFence`; for GraphQL there is `OperationFenceMiddleware`.
   */
  async withFence<T>(work: () => Promise<T>): Promise<T> {
    return this.engine.withFence(work);
  }

  /** Take before computing a value that is stored with {@link set} later. */
  async fence(): Promise<Fence> {
    return this.engine.fence();
  }

  /** Delete an entry, also where it is being computed now. Returns whether there was one. */
  async delete(key: string, options?: CallOptions): Promise<boolean> {
    return this.engine.delete(await this.key(key, options));
  }

  /**
   * Delete the tenant's entries whose key matches: `report:*`. Only keys given to this service; decorated methods are
   * invalidated by domain. Returns how many were deleted.
   */
  async invalidatePattern(pattern: string, options?: CallOptions): Promise<number> {
    return this.engine.invalidatePattern(
      this.keys.buildValuePattern({ pattern, tenantId: await this.tenantId(options?.tenant) }),
    );
  }

  /** Make void everything that depends on these domains, as a write to their tables does. */
  async invalidateDomains(...domains: string[]): Promise<void> {
    await this.invalidate({ domains });
  }

  /** Make void everything that carries one of these tags of your own. */
  async invalidateTags(...tags: string[]): Promise<void> {
    await this.invalidate({ tags });
  }

  /** The same for a list of tags. Inside a transaction of yours, pass it: then it takes effect with the commit. */
  async invalidateByTags(tags: readonly string[], within?: Queryable): Promise<void> {
    await this.invalidate({ tags }, within);
  }

  /**
   * Make void what a decorated method returned for these arguments, in all processes: of the tenant that the method itself
   * would take, or of `tenant`. With `varyBy` it is the variant of the moment; to have all of them void, give the method
   * a tag. In a transaction it takes effect with the commit.
   *
   * @param target The object, or its class where the key takes nothing from the object.
   * @throws CacheConfigurationError where the method is not cached, or not in this cache; MissingTenantError.
   * @example
   * await this.cache.invalidateMethod(this.users, 'getUserProfile', [123]);
   */
  async invalidateMethod<T extends object, M extends keyof T & string>(
    target: abstract new (...args: any[]) => T,
    method: M,
    args: T[M] extends (...args: infer A) => unknown ? A : never,
    options?: InvalidateMethodOptions,
  ): Promise<void>;
  async invalidateMethod<T extends object, M extends keyof T & string>(
    target: T,
    method: M,
    args: T[M] extends (...args: infer A) => unknown ? A : never,
    options?: InvalidateMethodOptions,
  ): Promise<void>;
  async invalidateMethod(
    target: object,
    method: string,
    args: readonly unknown[],
    options: InvalidateMethodOptions = {},
  ): Promise<void> {
    const type = typeOf(target);
    const all = cachedMethods(target, method);
    const methods = all.filter(({ cacheName }) => (cacheName ?? 'default') === this.name);
    if (methods.length === 0)
      throw new CacheConfigurationError(
        `${type.name}.${method} is kept in the cache '${all[0]!.cacheName ?? 'default'}', not in '${this.name}'; call invalidateMethod on that one: @InjectCache(${all[0]!.cacheName === undefined ? '' : `'${all[0]!.cacheName}'`})`,
      );
    const instance = typeof target === 'function' ? absentInstance(type, method) : target;
    const within = options.within ?? transactions.open()?.queryable;
    for (const each of methods) {
      const key = await each.keyOf(this, type, instance, args, options.tenant);
      await (within === undefined ? this.engine.delete(key) : this.engine.deleteWithin(key, within));
    }
  }

  /**
   * Make void what depends on domains, tags or rows; within a transaction of yours, with its commit. One that
   * `@nestjs-cls/transactional` or `typeorm-transactional` has open need not be passed.
   */
  async invalidate(what: Omit<DependencyOptions, 'untracked'>, within?: Queryable): Promise<void> {
    await this.engine.invalidate(this.dependencies(what), within ?? transactions.open()?.queryable);
  }

  /** Delete expired entries and trim the log now, instead of waiting for the schedule. */
  async purge(): Promise<PurgeResult> {
    return this.engine.purge();
  }

  /**
   * Counters of this process since the last {@link resetStats}, and figures of the cache table, which the database is asked for.
   * @throws the driver's error where it cannot be asked.
   */
  async getStats(): Promise<CacheStats> {
    return this.engine.getStats();
  }

  /** Count from 0 again, in this process. */
  resetStats(): void {
    this.engine.resetStats();
  }

  /**
   * Check what to invalidate, without doing it yet.
   * @throws CacheConfigurationError
   */
  dependencies({ domains = [], tags = [], rows = [] }: Omit<DependencyOptions, 'untracked'>): Dependencies {
    if (domains === 'infer')
      throw new CacheConfigurationError("invalidate: domains: 'infer' is for cached values; list domains: ['user']");
    // The same checks as for what an entry declares.
    return this.engine.policy({ domains, tags, rows }, undefined, 'invalidate').dependencies;
  }

  /**
   * The tenant a key belongs to, `undefined` for none. Fails closed: where a tenant is required, none is an error, and
   * so is anything named explicitly that is no tenant's id.
   * @throws MissingTenantError, CacheConfigurationError; `source` tells in its message where the choice came from.
   */
  async tenantId(choice: TenantChoice = 'current', source = 'tenant'): Promise<string | undefined> {
    return this.tenantOf(choice, source);
  }

  /** As {@link tenantId}; synchronous where the tenant is known without waiting, and then it throws. */
  tenantOf(choice: TenantChoice = 'current', source = 'tenant'): MaybePromise<string | undefined> {
    if (choice === 'shared') return undefined;
    if (typeof choice === 'object' && choice !== null) return toTenantId(choice.id, source);
    if (choice !== 'current')
      throw new CacheConfigurationError(
        `${source} is wrong; write 'current', 'shared' or a tenant's id as tenant: { id: 'acme' }`,
      );
    if (this.tenancy.mode === 'off') return undefined;
    return this.tenancy.mode === 'required' ? this.tenants.required() : this.tenants.resolve();
  }

  /**
   * Hold a name in keys for one method of one object. Results of two would be mixed up: of two methods under one name, of
   * two classes that have the same name, or of two instances of one class, which may hold different state.
   * @throws CacheConfigurationError
   * @internal
   */
  claim(view: string, holder: ViewHolder, where: string): void {
    const claimed = this.claims.get(view);
    const { method, type, instance } = holder;
    if (claimed === undefined) {
      this.claims.set(view, { method, type, instance: instance && new WeakRef(instance) });
      return;
    }
    if (claimed.method !== method || claimed.type !== type)
      throw new CacheConfigurationError(
        `${where}: another ${claimed.type === type ? 'method' : 'class'} caches under the name '${view}' too; give one of them a keyPrefix of its own, or none where both inherit the method`,
      );
    if (method.hasHiddenState && instance !== undefined && claimed.instance?.deref() !== instance)
      throw new CacheConfigurationError(
        `${where}: there are several instances of ${type.name} (is it provided by two modules, request-scoped or transient?), and what distinguishes them is not in the key; say it: varyBy: (...args) => ({ … }), or varyBy: () => ({}) if nothing does`,
      );
  }

  private async key(key: string, options?: CallOptions): Promise<string> {
    return this.keys.buildValueKey({ key, tenantId: await this.tenantId(options?.tenant) });
  }
}
