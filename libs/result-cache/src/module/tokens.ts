import { Inject } from '@nestjs/common';

/** Injection token of the module's checked options. */
export const CACHE_OPTIONS = Symbol('CACHE_OPTIONS');

/** Injection token of a named cache's `CacheService`; without a name, of the default one. */
export function getCacheToken(name?: string): string {
  return `nestjs-result-cache:${name ?? 'default'}`;
}

/**
 * Inject the `CacheService` of a named cache (see `CacheModule.forFeature`). The default one can be injected by its
 * class as well.
 *
 * @example
 * constructor(@InjectCache('reports') private readonly reports: CacheService) {}
 */
export function InjectCache(name?: string): PropertyDecorator & ParameterDecorator {
  return Inject(getCacheToken(name));
}

/** Where a decorated object's cache is put: a symbol, so that it neither clashes with the class nor shows in its JSON. */
export function cacheProperty(cacheName: string | undefined): symbol {
  return Symbol.for(getCacheToken(cacheName));
}
