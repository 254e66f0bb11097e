import { checkGivenOptions, type CacheResultOptions } from './cache-result-options.js';
import { CacheQuery, checkCachingDecorator, type CachingDecorator } from './cache-query.decorator.js';

/** What {@link createCachePreset} returns: a decorator whose options are all optional. */
export type CachePreset<D extends CachingDecorator = typeof CacheQuery> = (
  options?: CacheResultOptions,
) => ReturnType<D>;

type Listed = readonly unknown[] | ((...args: any[]) => readonly unknown[]);

/**
 * A decorator of the application's own, with options that stand for a kind of query. What a method says besides comes on
 * top: its `domains`, `tags`, `rows` and `classes` are added to the preset's, since a value must not lose what makes it void; any
 * other option takes the place of the preset's.
 *
 * @param decorator `CacheQuery` (default), `CacheQueryset` or `CacheResult`.
 * @throws CacheConfigurationError for options that cannot be right.
 * @example
 * export const CacheUserQuery = createCachePreset({ tags: ['user'], ttl: 300 });
 *
 * @CacheUserQuery({ ttl: 600 })
 * async getUserStats(userId: number): Promise<UserStats> { … }
 */
export function createCachePreset<D extends CachingDecorator = typeof CacheQuery>(
  preset: CacheResultOptions,
  decorator: D = CacheQuery as D,
): CachePreset<D> {
  const where = 'createCachePreset';
  checkGivenOptions(preset, where);
  checkCachingDecorator(decorator, where);
  return (options = {}) => decorator(merge(preset, options)) as ReturnType<D>;
}

function merge(preset: CacheResultOptions, own: CacheResultOptions): CacheResultOptions {
  // Without its brackets, or of the wrong kind: for the decorator to refuse.
  if (typeof own !== 'object' || own === null || Object.hasOwn(own, 'constructor')) return own;
  const merged: CacheResultOptions = { ...preset };
  for (const [name, value] of Object.entries(own)) if (value !== undefined) Object.assign(merged, { [name]: value });
  for (const name of ['domains', 'tags', 'rows', 'classes'] as const)
    if (preset[name] !== undefined && own[name] !== undefined)
      Object.assign(merged, { [name]: both(preset[name] as Listed, own[name] as Listed) });
  return merged;
}

/** Two lists as one, of which each may be a function of the arguments. */
function both(first: Listed, second: Listed): unknown {
  // What is no list is for the decorator to refuse.
  if (![first, second].every((list) => typeof list === 'function' || Array.isArray(list))) return second;
  if (typeof first !== 'function' && typeof second !== 'function') return [...first, ...second];
  return function (this: unknown, ...args: unknown[]): unknown[] {
    return [first, second].flatMap((list) => (typeof list === 'function' ? list.apply(this, args) : list));
  };
}
