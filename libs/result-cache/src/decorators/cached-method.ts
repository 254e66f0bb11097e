import { CacheConfigurationError, MissingTenantError } from '../core/errors.js';
import { type Policy } from '../core/policy.js';
import { renewalPart } from '../core/renewal-options.js';
import { transactions } from '../core/transactions.js';
import { type CacheService, type TenantChoice } from '../module/cache.service.js';
import { fixedPart, type CacheResultOptions } from './cache-result-options.js';
import { type DecoratedMethod } from '../module/decorated-methods.js';
import { isPromise } from '../tenancy/maybe-promise.js';
import { MethodParameters } from './method-parameters.js';
import { type Call } from './wrap-method.js';

/** What one decorated method knows about itself for one class and one cache. */
interface Prepared {
  policy: Policy;
  parameters: MethodParameters;
  view: string;
}

const isObject = (value: unknown): boolean => typeof value === 'object' && value !== null;

/** A method under `@CacheResult`. */
export class CachedMethod implements DecoratedMethod {
  readonly hasHiddenState: boolean;
  /** A subclass is another method under the same decorator, and so is the same class in another application. */
  private readonly prepared = new WeakMap<CacheService, WeakMap<object, Prepared>>();

  /** Objects whose calls were found to be in order. */
  private readonly claimed = new WeakMap<object, { cache: CacheService; prepared: Prepared }>();
  private readonly tenantSource: string;

  constructor(
    private readonly options: CacheResultOptions,
    private readonly prototype: object,
    private readonly key: string | symbol,
    readonly where: string,
    private readonly isOpenEnded: boolean,
  ) {
    this.hasHiddenState = options?.varyBy === undefined;
    this.tenantSource = `${where}: tenant`;
  }

  get cacheName(): string | undefined {
    return this.options.cache;
  }

  /** @throws CacheConfigurationError for what would go wrong at a call on this object, or on objects of this class. */
  check(cache: CacheService, type: object, instance?: object): void {
    this.claim(cache, this.prepare(cache, type), type, instance);
  }

  /** Serve one call, from the cache or by running the method. With no promise more than it takes: it is on every hit's way. */
  call(call: Call): Promise<unknown> {
    try {
      return this.serve(call);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  private serve(call: Call): Promise<unknown> {
    const { cache, instance, args, proceed } = call;
    const { options } = this;
    const prepared = this.ready(cache, instance);
    if (transactions.open(args) !== undefined)
      return cache.engine.computeUncached(proceed, prepared.policy, 'transaction');
    const policy = this.policyFor(prepared.policy, cache, instance, args);
    if (options.when !== undefined) return this.serveWhen(call, prepared, policy);
    return this.read(call, prepared, policy);
  }

  private async serveWhen(call: Call, prepared: Prepared, policy: Policy): Promise<unknown> {
    const { cache, instance, args, proceed } = call;
    if (await this.options.when!.apply(instance, [...args])) return this.read(call, prepared, policy);
    return cache.engine.computeUncached(proceed, policy);
  }

  private read({ cache, instance, args, proceed }: Call, prepared: Prepared, policy: Policy): Promise<unknown> {
    const read = (tenantId: string | undefined): Promise<unknown> => {
      const key = this.keyFor(cache, prepared, instance, args, tenantId);
      const compute = (): Promise<unknown> => {
        // The method runs later than it was called, and with the caller's own objects.
        if (args.some(isObject) && this.keyFor(cache, prepared, instance, args, tenantId) !== key)
          cache.engine.withhold(
            'its arguments were changed after the call and before it could run; do not change objects that are given to it',
          );
        return proceed();
      };
      return cache.engine.readThrough(key, compute, policy, tenantId);
    };
    const tenantId = cache.tenantOf(this.tenant(instance, args), this.tenantSource);
    return isPromise(tenantId) ? Promise.resolve(tenantId).then(read) : read(tenantId);
  }

  /** What is known about the method for this object, which holds its name in keys from now on. */
  private ready(cache: CacheService, instance: object): Prepared {
    const known = this.claimed.get(instance);
    if (known?.cache === cache) return known.prepared;
    const type = instance.constructor;
    const prepared = this.prepare(cache, type);
    this.claim(cache, prepared, type, instance);
    this.claimed.set(instance, { cache, prepared });
    return prepared;
  }

  isNamed(name: string | symbol): boolean {
    return this.key === name;
  }

  async keyOf(
    cache: CacheService,
    type: object,
    instance: object,
    args: readonly unknown[],
    tenant?: TenantChoice,
  ): Promise<string> {
    const tenantId = await cache.tenantId(tenant ?? this.tenant(instance, args), this.tenantSource);
    return this.keyFor(cache, this.prepare(cache, type), instance, args, tenantId);
  }

  /** The only place where a call's key is made, so that what is invalidated is what was stored. */
  private keyFor(
    cache: CacheService,
    { view, parameters }: Prepared,
    instance: object,
    args: readonly unknown[],
    tenantId: string | undefined,
  ): string {
    const { key, varyBy } = this.options;
    // In the order in which they were always called.
    const own = key?.apply(instance, [...args]);
    const keyed = key ? undefined : parameters.keyed(args);
    const variant = varyBy?.apply(instance, [...args]);
    return cache.keys.buildMethodKey(
      keyed === undefined
        ? { name: view, tenantId, key: own, varyBy: variant }
        : { name: view, tenantId, args: keyed, varyBy: variant },
    );
  }

  private prepare(cache: CacheService, type: object): Prepared {
    let types = this.prepared.get(cache);
    if (types === undefined) this.prepared.set(cache, (types = new WeakMap()));
    let prepared = types.get(type);
    if (prepared === undefined) {
      const overridden = this.isOverriddenIn(type as typeof Object);
      const parameters = MethodParameters.of(
        (overridden ? this.prototype.constructor : type) as typeof Object,
        this.key,
        this.isOpenEnded,
      );
      if (parameters.writesResponse)
        throw new CacheConfigurationError(
          `${this.where}: it takes @Res() or @Next() and writes the response itself, which a hit would not; return the value, or use @Res({ passthrough: true })`,
        );
      if (parameters.operation === 'Subscription' || parameters.operation === 'Mutation')
        throw new CacheConfigurationError(
          `${this.where}: it is a GraphQL ${parameters.operation.toLowerCase()}, which ${parameters.operation === 'Mutation' ? 'a hit would not carry out' : 'returns a stream for one subscriber'}; cache what it reads, in a method of its own`,
        );
      const name = `${(type as typeof Object).name}.${String(this.key)}`;
      const view = this.options.keyPrefix ?? (overridden ? `${name} of ${this.prototype.constructor.name}` : name);
      prepared = { policy: cache.engine.policy(fixedPart(this.options), view, this.where), parameters, view };
      types.set(type, prepared);
    }
    return prepared;
  }

  private claim(cache: CacheService, { view }: Prepared, type: object, instance?: object): void {
    cache.claim(view, { method: this, type: type as typeof Object, instance }, this.where);
  }

  /** A method that the class overrides is reached through `super` only: that is another method, with keys of its own. */
  private isOverriddenIn(type: typeof Object): boolean {
    let owner: object | null = type.prototype;
    while (owner !== null && !Object.hasOwn(owner, this.key)) owner = Object.getPrototypeOf(owner) as object | null;
    return owner !== this.prototype;
  }

  /** Tags and rows that depend on the arguments make a policy of the call's own; the classes it learns stay. */
  private policyFor(policy: Policy, cache: CacheService, instance: object, args: readonly unknown[]): Policy {
    const { tags, rows, ttl, domains, untracked, freshness, lease } = this.options;
    if (typeof tags !== 'function' && typeof rows !== 'function') return policy;
    const given = {
      ttl,
      domains,
      untracked,
      freshness,
      lease,
      ...renewalPart(this.options),
      tags: typeof tags === 'function' ? tags.apply(instance, [...args]) : tags,
      rows: typeof rows === 'function' ? rows.apply(instance, [...args]) : rows,
    };
    return cache.engine.policy(given, policy.view, this.where, policy.registry);
  }

  /** A function that names no tenant must not turn a tenant's value into everybody's. */
  private tenant(instance: object, args: readonly unknown[]): TenantChoice | undefined {
    const { tenant } = this.options;
    if (typeof tenant !== 'function') return tenant;
    const id = tenant.apply(instance, [...args]) as string | null | undefined;
    if (id === undefined || id === null)
      throw new MissingTenantError(`${this.where}: tenant() named no tenant; return its id, a non-empty string`);
    return { id };
  }
}
