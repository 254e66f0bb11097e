import { CacheConfigurationError } from '../core/errors.js';
import { Policy } from '../core/policy.js';
import { transactions } from '../core/transactions.js';
import { recordMethod } from '../module/decorated-methods.js';
import { methodName, wrapMethod, type AsyncMethodDecorator, type Call } from './wrap-method.js';

/** Options of {@link InvalidatesDomain}, as its last argument. */
export interface InvalidatesOptions {
  /** Tags of your own to invalidate as well, or a function of the arguments that returns them; called before the method runs. */
  tags?: readonly string[] | ((...args: any[]) => readonly string[]);
  /** A cache of `CacheModule.forFeature`, only for where its connection differs. Default: the module's. */
  cache?: string;
}

/**
 * Make void everything that depends on these domains when the method has run, also if it throws: what it wrote before
 * may have been committed. The caller gets its answer afterwards. Writes to watched tables do this by themselves; it is
 * for what no trigger sees, as a call to another system. Inside a transaction (an `EntityManager`, `QueryRunner` or `pg`
 * client among the arguments, or one that `@nestjs-cls/transactional` or `typeorm-transactional` has open) it takes effect
 * with the commit.
 *
 * @throws CacheConfigurationError at decoration, without a domain or with a name that is none.
 * @example
 * @InvalidatesDomain('order')
 * async refreshOrderTotals(): Promise<void> { … } // REFRESH MATERIALIZED VIEW fires no trigger
 */
export function InvalidatesDomain(first: string, ...rest: (string | InvalidatesOptions)[]): AsyncMethodDecorator {
  const given: unknown[] = [first, ...rest];
  const last = given.at(-1);
  const options = (typeof last === 'object' && last !== null ? last : {}) as InvalidatesOptions;
  const domains = (options === last ? given.slice(0, -1) : given) as string[];
  // Without its brackets a decorator is handed the class's prototype, the method's name and its descriptor.
  if (typeof (given[2] as PropertyDescriptor | undefined)?.value === 'function')
    throw new CacheConfigurationError(
      `@InvalidatesDomain in ${(first as unknown as object).constructor.name} lacks its domains; write @InvalidatesDomain('user')`,
    );
  return invalidating('InvalidatesDomain', domains, options, (where) => check(domains, options, where));
}

/**
 * The same for tags of your own, where no domain is concerned.
 *
 * @throws CacheConfigurationError at decoration, without a tag or with one that is none.
 * @example
 * @InvalidatesTags('story', 'featured')
 * async publish(id: number): Promise<void> { … }
 *
 * @InvalidatesTags((id) => [`story-${id}`])
 * async rename(id: number, title: string): Promise<void> { … }
 */
export function InvalidatesTags(
  first: string | ((...args: any[]) => readonly string[]),
  ...rest: (string | Pick<InvalidatesOptions, 'cache'>)[]
): AsyncMethodDecorator {
  const given: unknown[] = [first, ...rest];
  if (typeof (given[2] as PropertyDescriptor | undefined)?.value === 'function')
    throw new CacheConfigurationError(
      `@InvalidatesTags in ${(first as unknown as object).constructor.name} lacks its tags; write @InvalidatesTags('price-list')`,
    );
  const last = given.at(-1);
  const own = (typeof last === 'object' && last !== null ? last : {}) as InvalidatesOptions;
  const tags = own === last ? given.slice(0, -1) : given;
  const options = { ...own, tags: typeof first === 'function' ? first : (tags as string[]) };
  return invalidating('InvalidatesTags', [], options, (where) => {
    if (tags.length === 0 || tags[0] === undefined || (typeof first === 'function' && tags.length > 1))
      throw new CacheConfigurationError(
        `${where} needs tags, or one function that returns them; write @InvalidatesTags('price-list') or @InvalidatesTags((id) => [\`price-\${id}\`])`,
      );
    if ('tags' in own) throw new CacheConfigurationError(`${where}: there is no option 'tags'; known is cache`);
    checkOptions([], options, where);
  });
}

function invalidating(
  decorator: string,
  domains: string[],
  options: InvalidatesOptions,
  checkNames: (where: string) => void,
): AsyncMethodDecorator {
  return (target, propertyKey, descriptor) => {
    const where = `@${decorator} on ${methodName(target, propertyKey)}`;
    wrapMethod(where, options.cache, target, propertyKey, descriptor, (call) => run(call, domains, options));
    checkNames(where);
    recordMethod(target.constructor, {
      where,
      cacheName: options.cache,
      hasHiddenState: false,
      check: () => undefined,
    });
  };
}

async function run({ cache, instance, args, proceed }: Call, domains: string[], options: InvalidatesOptions) {
  // First, so that a mistake in it prevents the write instead of hiding it, and the method's own error stays its own.
  const tags = typeof options.tags === 'function' ? options.tags.apply(instance, [...args]) : options.tags;
  const what = cache.dependencies({ domains, tags });
  // In a transaction of the caller's: with its commit, and not at all with its rollback.
  const invalidate = (): Promise<void> => cache.engine.invalidate(what, transactions.open(args)?.queryable);
  let result: unknown;
  try {
    result = await proceed();
  } catch (error) {
    // What it wrote before may have been committed. A transaction that failed takes no more statements, and needs none:
    // the method's own error is what the caller must see.
    await invalidate().catch(() => undefined);
    throw error;
  }
  await invalidate();
  return result;
}

function check(domains: readonly unknown[], options: InvalidatesOptions, where: string): void {
  const remedy = "write @InvalidatesDomain('user', 'post') or @InvalidatesDomain('user', { tags: ['price-list'] })";
  if (domains.length === 0 || (domains.length === 1 && domains[0] === undefined))
    throw new CacheConfigurationError(`${where} names no domain; ${remedy}`);
  if (domains.some((name) => typeof name !== 'string' || name === ''))
    throw new CacheConfigurationError(`${where}: a domain is a non-empty text, and options come last; ${remedy}`);
  checkOptions(domains as string[], options, where);
}

function checkOptions(domains: readonly string[], options: InvalidatesOptions, where: string): void {
  const unknown = Object.keys(options).find((name) => name !== 'tags' && name !== 'cache');
  if (unknown !== undefined)
    throw new CacheConfigurationError(`${where}: there is no option '${unknown}'; known are tags, cache`);
  const { tags, cache } = options;
  if (cache !== undefined && (typeof cache !== 'string' || cache === ''))
    throw new CacheConfigurationError(
      `${where}: cache is wrong; write the name of a CacheModule.forFeature: cache: 'reports'`,
    );
  // The same checks as for what an entry declares.
  const list = typeof tags === 'function' ? [] : tags;
  new Policy({ domains, tags: list }, { ttl: 0, maxTtlMs: Infinity, where });
}
