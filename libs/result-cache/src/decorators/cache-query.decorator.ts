import { CacheConfigurationError } from '../core/errors.js';
import { type CacheResultOptions } from './cache-result-options.js';
import { cachedMethod } from './cache-result.decorator.js';
import { collect, type Queryset } from './queryset.js';
import { type AsyncMethodDecorator } from './wrap-method.js';

/** Methods that return a {@link Queryset}, or the promise of one. */
export type QuerysetMethodDecorator = <T extends (...args: any[]) => Queryset<any> | Promise<Queryset<any>>>(
  target: object,
  propertyKey: string | symbol,
  descriptor: TypedPropertyDescriptor<T>,
) => void;

/**
 * Cache what a query returns: {@link CacheResult} under the name that goes with {@link CacheQueryset}. Its TTL is the
 * cache's `defaultTtl`, 300 s unless set otherwise.
 *
 * `domains` name watched tables, whose writes make the value void by themselves. `tags` are names of your own: only
 * `invalidateByTags` makes a value void that names nothing but them.
 *
 * @throws CacheConfigurationError at decoration, for options that cannot be right.
 * @example
 * @CacheQuery({ ttl: 300, tags: ['user', 'profile'] })
 * async getUserProfile(userId: number): Promise<UserProfile> { … }
 */
export function CacheQuery(options: CacheResultOptions): AsyncMethodDecorator {
  return cachedMethod('CacheQuery', options);
}

/**
 * The same for a method that returns a list still to be read: a TypeORM query builder (its `getMany` is called), an async
 * iterable, or a list. It is read to its end before it is cached, so callers are given a promise of a list.
 *
 * A decorator cannot change a method's type. To have callers see what they get, return `collect(queryset)`.
 *
 * @throws CacheConfigurationError at decoration; at the call, for what is no list.
 * @example
 * @CacheQueryset({ ttl: 300, tags: ['story', 'featured'] })
 * async getFeatured(): Promise<Story[]> {
 *   return collect(this.stories.createQueryBuilder('story').where('story.featured'));
 * }
 */
export function CacheQueryset(options: CacheResultOptions): QuerysetMethodDecorator {
  const convert = async (result: unknown, where: string) => collect(result as Queryset<unknown>, where);
  return cachedMethod('CacheQueryset', options, convert) as MethodDecorator as QuerysetMethodDecorator;
}

/** A decorator for cached methods that takes options. */
export type CachingDecorator = typeof CacheQuery | typeof CacheQueryset;

/** @throws CacheConfigurationError for anything but such a decorator. */
export function checkCachingDecorator(decorator: unknown, where: string): void {
  if (typeof decorator !== 'function')
    throw new CacheConfigurationError(
      `${where}: its second argument is the decorator to apply; write CacheQueryset, or leave it out for CacheQuery`,
    );
}
