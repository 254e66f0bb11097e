import { type CacheService, type TenantChoice } from './cache.service.js';

/** A decorated method, as the start-up checks see it. */
export interface DecoratedMethod {
  /** Decorator and method, for messages. */
  readonly where: string;
  /** The named cache it wants; `undefined` for the default one. */
  readonly cacheName: string | undefined;
  /** Whether the state of its object could be an input that the key does not show. */
  readonly hasHiddenState: boolean;
  /** @throws CacheConfigurationError for what would fail at a call on `instance`, or on an object of `type`. */
  check(cache: CacheService, type: object, instance?: object): void;
  /** Whether it is the method of this name. */
  isNamed?(name: string | symbol): boolean;
  /**
   * The key of a call, where the method is cached.
   * @param type The class of the object, which may be a prototype or stand-in for one.
   */
  keyOf?(
    cache: CacheService,
    type: object,
    instance: object,
    args: readonly unknown[],
    tenant?: TenantChoice,
  ): Promise<string>;
}

const METHODS = Symbol('nestjs-result-cache:methods');

/** Remember a decorated method with its class. */
export function recordMethod(type: object, method: DecoratedMethod): void {
  Reflect.defineMetadata(METHODS, [...methodsOf(type), method], type);
}

/** The decorated methods of a class, inherited ones included. */
export function methodsOf(type: object): readonly DecoratedMethod[] {
  return (Reflect.getMetadata(METHODS, type) as DecoratedMethod[] | undefined) ?? [];
}
