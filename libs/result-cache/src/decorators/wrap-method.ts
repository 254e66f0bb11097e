import { Inject, Logger, Optional } from '@nestjs/common';
import { CacheConfigurationError } from '../core/errors.js';
import { type CacheService } from '../module/cache.service.js';
import { cacheProperty, getCacheToken } from '../module/tokens.js';

/** Async methods only: what a cache hands out is never there at once. */
export type AsyncMethodDecorator = <T extends (...args: any[]) => Promise<any>>(
  target: object,
  propertyKey: string | symbol,
  descriptor: TypedPropertyDescriptor<T>,
) => void;

type Method = (this: object, ...args: unknown[]) => Promise<unknown>;

/** One call of a decorated method. */
export interface Call {
  cache: CacheService;
  /** The object it was called on. */
  instance: object;
  args: readonly unknown[];
  /** Run the method itself. */
  proceed: () => Promise<unknown>;
}

const logger = new Logger('ResultCache');

/**
 * Put `around` in the place of a method, at decoration time: what other decorators and Nest's scanners see afterwards is
 * the wrapper, whatever the order of imports. The service comes by property injection, optional: an object made without
 * the module (in a unit test) works uncached.
 *
 * @param convert What becomes of the method's own result, cached or not.
 */
export function wrapMethod(
  where: string,
  cacheName: string | undefined,
  target: object,
  propertyKey: string | symbol,
  descriptor: PropertyDescriptor | undefined,
  /** Must not throw but by its promise. */
  around: (call: Call) => Promise<unknown>,
  convert?: (result: unknown) => Promise<unknown>,
): void {
  const original = descriptor?.value as Method | undefined;
  if (typeof propertyKey === 'object')
    throw new CacheConfigurationError(
      `${where}: these are standard decorators, which Nest does not read; set "experimentalDecorators": true in tsconfig.json`,
    );
  if (typeof descriptor !== 'object' || typeof original !== 'function')
    throw new CacheConfigurationError(`${where}: it decorates methods only; put it on an async method`);
  if (typeof target === 'function')
    throw new CacheConfigurationError(
      `${where}: a static method has no injected cache; make it an instance method, or call CacheService yourself`,
    );

  // One property per cache, under a name that says what it is to whoever prints the object.
  const property = cacheProperty(cacheName);
  Inject(getCacheToken(cacheName))(target, property);
  Optional()(target, property);

  const run = async (self: object, args: unknown[]): Promise<unknown> => {
    const result = await original.apply(self, args);
    return convert === undefined ? result : convert(result);
  };
  let warned = false;
  const wrapper: Method = function (this: object, ...args: unknown[]): Promise<unknown> {
    const cache = (this as Record<symbol, CacheService | undefined> | undefined)?.[property];
    // A testing module's automatic mock is no cache either.
    if (typeof cache?.engine?.readThrough !== 'function') {
      if (!warned) {
        warned = true;
        logger.warn(
          `${methodName(target, propertyKey)} runs without the cache, because no CacheModule was found for its object. Import CacheModule.forRoot(...) in the application (with isGlobal: false, in this class's module too), and let Nest make the object; in a unit test, ignore this.`,
        );
      }
      return run(this, args);
    }
    return around({ cache, instance: this, args, proceed: () => run(this, args) });
  };
  copyAppearance(original, wrapper);
  descriptor.value = wrapper;
}

/** `Class.method`, for messages. */
export function methodName(target: object, propertyKey: string | symbol): string {
  const type = typeof target === 'function' ? target : target.constructor;
  // A decorator on a class is called without a name.
  return propertyKey === undefined ? type.name : `${type.name}.${String(propertyKey)}`;
}

/** Guards, pipes and routes are metadata on the function: all of it must be found on the wrapper. */
function copyAppearance(from: object, to: object): void {
  for (const key of Reflect.getOwnMetadataKeys(from))
    Reflect.defineMetadata(key, Reflect.getOwnMetadata(key, from), to);
  for (const property of ['name', 'length'] as const) {
    const descriptor = Object.getOwnPropertyDescriptor(from, property);
    if (descriptor) Object.defineProperty(to, property, descriptor);
  }
}
