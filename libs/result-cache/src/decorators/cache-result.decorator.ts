import { CacheConfigurationError } from '../core/errors.js';
import { checkCacheResultOptions, type CacheResultOptions } from './cache-result-options.js';
import { CachedMethod } from './cached-method.js';
import { recordMethod } from '../module/decorated-methods.js';
import { methodName, wrapMethod, type AsyncMethodDecorator } from './wrap-method.js';

/**
 * Cache what an async method returns: in a service, a REST controller or a GraphQL resolver, above or below other
 * decorators.
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
  return cachedMethod('CacheResult', options);
}

/**
 * {@link CacheResult} under the name that messages give it.
 * @param convert What becomes of the method's result before it is cached; `where` is for its messages.
 */
export function cachedMethod(
  decorator: string,
  options: CacheResultOptions,
  convert?: (result: unknown, where: string) => Promise<unknown>,
): AsyncMethodDecorator {
  // Without its brackets a decorator is handed the class's prototype, and would replace the method by a function of ours.
  if (Object.hasOwn(Object(options) as object, 'constructor') && options.constructor != null)
    throw new CacheConfigurationError(
      `@${decorator} in ${options.constructor.name} lacks its options; write @${decorator}({ domains: ['user'], ttl: '5m' })`,
    );
  return (target, propertyKey, descriptor) => {
    const where = `@${decorator} on ${methodName(target, propertyKey)}`;
    checkCacheResultOptions(options, where);
    const isOpenEnded = /\.\.\.|\barguments\b/.test(String(descriptor?.value));
    const method = new CachedMethod(options, target, propertyKey, where, isOpenEnded);
    const converted = convert && ((result: unknown) => convert(result, where));
    wrapMethod(where, options?.cache, target, propertyKey, descriptor, (call) => method.call(call), converted);
    recordMethod(target.constructor, method);
  };
}
