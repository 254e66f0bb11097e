import { type CacheResultOptions } from './cache-result.decorator.js';

/** A method under `@CacheResult`, as the start-up checks see it. */
export interface DecoratedMethod {
  method: string;
  cacheName: string | undefined;
  options: CacheResultOptions;
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
