import { CacheConfigurationError } from '../core/errors.js';
import { saysWhenVoid, type EntryOptions, type Policy, type RowValues } from '../core/policy.js';
import { transactions } from '../core/transactions.js';
import { type CacheService, type TenantChoice } from '../module/cache.service.js';
import { recordMethod } from './decorated-methods.js';
import { MethodParameters } from './method-parameters.js';
import { wrapMethod, type AsyncMethodDecorator, type Call } from './wrap-method.js';

/** A list, or a function of the method's arguments that returns one. */
type Listed<T> = readonly T[] | ((...args: any[]) => readonly T[]);

/** Options of {@link CacheResult}. */
export interface CacheResultOptions extends Pick<
  EntryOptions,
  'ttl' | 'domains' | 'classes' | 'untracked' | 'freshness'
> {
  /** Tags of your own, for data that is not in the database; `invalidateTags` makes the value void. */
  tags?: Listed<string>;
  /** Only these rows of a domain: `rows: (id) => [['user', { id }]]`. Declare it only where no other row of it is read. */
  rows?: Listed<readonly [domain: string, values: RowValues]>;
  /** Name in keys and statistics. Default `Class.method`. */
  keyPrefix?: string;
  /** What distinguishes two calls. Default: the arguments, without `@Context()`, `@Res()` and the like. */
  key?: (...args: any[]) => unknown;
  /** Hidden inputs that the arguments do not show: the user's role, the language. Makes them part of the key. */
  varyBy?: (...args: any[]) => Readonly<Record<string, unknown>>;
  /** `'shared'` where the value is the same for all tenants. Default `'current'`: each tenant has its own. */
  tenant?: Exclude<TenantChoice, object> | ((...args: any[]) => string);
  /** Cache this call at all? It is computed if not. */
  when?: (...args: any[]) => boolean;
  /** A cache of {@link CacheModule.forFeature}. Default: the module's. */
  cache?: string;
}

/**
 * Cache what an async method returns: in a service, a REST controller or a GraphQL resolver.
 *
 * Guards, interceptors and pipes around the method run on a hit as on a miss. Say what the value depends on: `domains`
 * (kinds of data whose tables are watched), `rows`, `tags`, or `untracked: true`.
 *
 * @throws CacheConfigurationError at decoration, for options that cannot be right.
 * @example
 * @CacheResult({ domains: ['product'], ttl: '10m' })
 * async topProducts(category: string, limit = 10): Promise<Product[]> { … }
 */
export function CacheResult(options: CacheResultOptions): AsyncMethodDecorator {
  return (target, propertyKey, descriptor) => {
    const where = `@CacheResult on ${target.constructor.name}.${String(propertyKey)}`;
    checkOptions(options, where);
    const method = new CachedMethod(options, where);
    wrapMethod('@CacheResult', options?.cache, target, propertyKey, descriptor, (call, name) =>
      method.call(call, name),
    );
    recordMethod(target.constructor, { method: String(propertyKey), cacheName: options.cache, options });
  };
}

/** What one decorated method knows about itself in one application: made at its first call there. */
interface Prepared {
  policy: Policy;
  parameters: MethodParameters;
  view: string;
}

class CachedMethod {
  /** A subclass is another method under the same decorator, and so is the same class in another application. */
  private readonly prepared = new WeakMap<CacheService, WeakMap<object, Prepared>>();

  constructor(
    private readonly options: CacheResultOptions,
    private readonly where: string,
  ) {}

  async call({ cache, instance, args, proceed }: Call, method: string): Promise<unknown> {
    const { options } = this;
    const { policy, parameters, view } = this.prepare(cache, instance, method);
    if (transactions.open(args) !== undefined) {
      cache.engine.passBy(policy, 'transaction');
      return proceed();
    }
    if (options.when?.call(instance, ...args) === false) {
      cache.engine.passBy(this.policyFor(policy, cache, instance, args), 'when');
      return proceed();
    }
    const tenantId = await this.tenantId(cache, instance, args);
    const key = cache.methodKey({
      name: view,
      tenantId,
      args: options.key ? [options.key.apply(instance, [...args])] : parameters.keyed(args),
      varyBy: options.varyBy?.apply(instance, [...args]),
    });
    return cache.engine.readThrough(key, proceed, this.policyFor(policy, cache, instance, args), tenantId);
  }

  private prepare(cache: CacheService, instance: object, method: string): Prepared {
    const type = instance.constructor;
    let types = this.prepared.get(cache);
    if (types === undefined) this.prepared.set(cache, (types = new WeakMap()));
    let prepared = types.get(type);
    if (prepared === undefined) {
      const parameters = MethodParameters.of(type, Object.getPrototypeOf(instance) as object, method);
      if (parameters.writesResponse)
        throw new CacheConfigurationError(
          `${this.where}: it takes @Res() or @Next() and writes the response itself, which a hit would not; return the value, or use @Res({ passthrough: true })`,
        );
      const view = this.options.keyPrefix ?? `${type.name}.${method}`;
      const { ttl, domains, classes, untracked, freshness, tags, rows } = this.options;
      const fixed = { ttl, domains, classes, untracked, freshness, tags: listed(tags), rows: listed(rows) };
      prepared = { policy: cache.engine.policy(fixed, view, this.where), parameters, view };
      types.set(type, prepared);
    }
    cache.claim(prepared.view, instance, this.options.varyBy !== undefined, this.where);
    return prepared;
  }

  /** Tags and rows that depend on the arguments make a policy of the call's own; the classes it learns stay. */
  private policyFor(policy: Policy, cache: CacheService, instance: object, args: readonly unknown[]): Policy {
    const { tags, rows, ttl, domains, untracked, freshness } = this.options;
    if (typeof tags !== 'function' && typeof rows !== 'function') return policy;
    const given = {
      ttl,
      domains,
      untracked,
      freshness,
      tags: typeof tags === 'function' ? tags.apply(instance, [...args]) : tags,
      rows: typeof rows === 'function' ? rows.apply(instance, [...args]) : rows,
    };
    return cache.engine.policy(given, policy.view, this.where, policy.registry);
  }

  private async tenantId(cache: CacheService, instance: object, args: readonly unknown[]): Promise<string | undefined> {
    const { tenant } = this.options;
    return cache.tenantId(typeof tenant === 'function' ? { id: tenant.apply(instance, [...args]) } : tenant);
  }
}

function listed<T>(value: Listed<T> | undefined): readonly T[] | undefined {
  return typeof value === 'function' ? [] : value;
}

const KNOWN = [
  'ttl',
  'domains',
  'tags',
  'rows',
  'untracked',
  'freshness',
  'classes',
  'keyPrefix',
  'key',
  'varyBy',
  'tenant',
  'when',
  'cache',
];

function checkOptions(options: CacheResultOptions, where: string): void {
  if (typeof options !== 'object' || options === null)
    throw new CacheConfigurationError(`${where} needs options; write @CacheResult({ domains: ['user'], ttl: '5m' })`);
  const unknown = Object.keys(options).find((key) => !KNOWN.includes(key));
  if (unknown !== undefined)
    throw new CacheConfigurationError(`${where}: there is no option '${unknown}'; known are ${KNOWN.join(', ')}`);
  if (!saysWhenVoid(options as EntryOptions))
    throw new CacheConfigurationError(
      `${where} does not say what its value depends on; write domains: ['user'] (the kinds of data it reads), tags: [...], rows: ..., or untracked: true to accept staleness up to the TTL`,
    );
}
