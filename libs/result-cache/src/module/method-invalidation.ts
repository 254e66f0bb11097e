import { CacheConfigurationError } from '../core/errors.js';
import { type CacheService } from './cache.service.js';
import { methodsOf, type DecoratedMethod } from './decorated-methods.js';
import { cacheProperty } from './tokens.js';

/** A cached method as it makes its keys. */
export type KeyedMethod = DecoratedMethod & Required<Pick<DecoratedMethod, 'keyOf'>>;

/** The class that `target` is, or is an object of. */
export function typeOf(target: object): { name: string; prototype: object } {
  return typeof target === 'function' ? target : target.constructor;
}

/**
 * The cached methods of a class by this name: one, or with those it overrides, which may be reached through `super`.
 * @throws CacheConfigurationError where there is none.
 */
export function cachedMethods(target: object, name: string): readonly KeyedMethod[] {
  const type = typeOf(target);
  const found = methodsOf(type).filter(
    (method): method is KeyedMethod => method.keyOf !== undefined && method.isNamed?.(name) === true,
  );
  if (found.length > 0) return found;
  throw new CacheConfigurationError(
    `${type.name}.${name} is not cached, so there is nothing to make void; name a method under @CacheResult or @CacheQuery`,
  );
}

/** The caches that an object was given for a method; none where it was made without the module. */
export function cachesOf(target: object, name: string): CacheService[] {
  const properties = cachedMethods(target, name).map(({ cacheName }) => cacheProperty(cacheName));
  return [...new Set(properties)].flatMap(
    (property) => (target as Record<symbol, CacheService | undefined>)[property] ?? [],
  );
}

/** In the place of an object where only its class is known: what the key would take from it must not be guessed. */
export function absentInstance(type: { name: string }, name: string): object {
  const refuse = (): never => {
    throw new CacheConfigurationError(
      `${type.name}.${name} makes its key of its object (this), which a class alone does not show; pass the object instead of the class`,
    );
  };
  return new Proxy({}, { get: refuse, has: refuse, ownKeys: refuse });
}
