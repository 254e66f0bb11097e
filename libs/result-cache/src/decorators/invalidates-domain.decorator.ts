import { CacheConfigurationError } from '../core/errors.js';
import { transactions } from '../core/transactions.js';
import { wrapMethod, type AsyncMethodDecorator } from './wrap-method.js';

/** Options of {@link InvalidatesDomain}, as its last argument. */
export interface InvalidatesOptions {
  /** Tags of your own to invalidate as well, or a function of the arguments that returns them. */
  tags?: readonly string[] | ((...args: any[]) => readonly string[]);
  /** A cache of `CacheModule.forFeature`, only for where its connection differs. Default: the module's. */
  cache?: string;
}

/**
 * Make void everything that depends on these domains when the method has run, also if it throws: what it wrote before
 * may have been committed. Writes to watched tables do this by themselves; it is for what no trigger sees, as a call to
 * another system. Inside a transaction (an `EntityManager`, `QueryRunner` or `pg` client among the arguments, or one that
 * `@nestjs-cls/transactional` or `typeorm-transactional` has open) it takes effect with the commit.
 *
 * @throws CacheConfigurationError at decoration, without a domain or with a name that is none.
 * @example
 * @InvalidatesDomain('price')
 * async importPrices(file: string): Promise<void> { … }
 */
export function InvalidatesDomain(first: string, ...rest: (string | InvalidatesOptions)[]): AsyncMethodDecorator {
  const last = rest.at(-1);
  const options = typeof last === 'object' ? last : {};
  const domains = [first, ...rest].filter((name) => typeof name !== 'object') as string[];
  return (target, propertyKey, descriptor) => {
    const where = `@InvalidatesDomain on ${target.constructor.name}.${String(propertyKey)}`;
    if (domains.length === 0 || domains.some((name) => typeof name !== 'string' || name === ''))
      throw new CacheConfigurationError(`${where}: a domain is a non-empty text: @InvalidatesDomain('user', 'post')`);
    wrapMethod(
      '@InvalidatesDomain',
      options.cache,
      target,
      propertyKey,
      descriptor,
      async ({ cache, instance, args, proceed }) => {
        const invalidate = async (): Promise<void> => {
          const tags = typeof options.tags === 'function' ? options.tags.apply(instance, [...args]) : options.tags;
          // In a transaction of the caller's: with its commit, and not at all with its rollback.
          await cache.invalidate({ domains, tags }, transactions.open(args)?.queryable);
        };
        let result: unknown;
        try {
          result = await proceed();
        } catch (error) {
          // What it wrote before may have been committed. A transaction that failed takes no more statements, and
          // needs none: the method's own error is what the caller must see.
          await invalidate().catch(() => undefined);
          throw error;
        }
        await invalidate();
        return result;
      },
    );
  };
}
