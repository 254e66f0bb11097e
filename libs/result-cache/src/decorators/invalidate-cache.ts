import { CacheService, type InvalidateMethodOptions } from '../module/cache.service.js';
import { cachesOf } from '../module/method-invalidation.js';

/**
 * Make void what a decorated method returned for these arguments: `CacheService.invalidateMethod` where only the object
 * is at hand. Does nothing for an object that was made without the cache (in a unit test, say).
 *
 * @throws CacheConfigurationError where the method is not cached.
 * @example
 * await invalidateCache(this.users, 'getUserProfile', [123]);
 */
export async function invalidateCache<T extends object, M extends keyof T & string>(
  target: T,
  method: M,
  args: T[M] extends (...args: infer A) => unknown ? A : never,
  options?: InvalidateMethodOptions,
): Promise<void> {
  const caches = cachesOf(target, method).filter((cache) => cache instanceof CacheService);
  await Promise.all(caches.map((cache) => cache.invalidateMethod(target, method, args, options)));
}
