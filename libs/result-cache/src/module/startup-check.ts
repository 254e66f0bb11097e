import { Inject, Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { ModulesContainer } from '@nestjs/core';
import { CacheConfigurationError } from '../core/errors.js';
import { CacheRegistry } from './cache-registry.js';
import { type CacheService } from './cache.service.js';
import { methodsOf, type DecoratedMethod } from './decorated-methods.js';
import { cacheProperty } from './tokens.js';

/** How many objects of a class there are, as far as results can depend on it. */
type Lifetime = 'singleton' | 'request-scoped' | 'transient';

/**
 * Looks at every decorated method of the application before the first request: options that this cache does not accept,
 * names that two methods share, and objects with hidden state would otherwise be found by a user.
 */
@Injectable()
export class StartupCheck implements OnApplicationBootstrap {
  constructor(
    @Inject(ModulesContainer) private readonly modules: ModulesContainer,
    @Inject(CacheRegistry) private readonly registry: CacheRegistry,
  ) {}

  /** @throws CacheConfigurationError */
  onApplicationBootstrap(): void {
    this.checkModules();
    for (const { providers, controllers, injectables } of this.modules.values())
      for (const wrapper of [...providers.values(), ...controllers.values(), ...injectables.values()]) {
        const type = wrapper.metatype;
        if (typeof type !== 'function' || wrapper.isAlias) continue;
        const lifetime = wrapper.isTransient
          ? 'transient'
          : wrapper.isDependencyTreeStatic()
            ? 'singleton'
            : 'request-scoped';
        // The instance of anything but a singleton is a bare prototype here.
        const instance = lifetime === 'singleton' ? (wrapper.instance as object) : undefined;
        for (const method of methodsOf(type)) this.check(method, type, lifetime, instance);
      }
  }

  private checkModules(): void {
    const everywhere = [...this.modules.values()].filter(
      (module) => module.isGlobal && module.hasProvider(CacheRegistry),
    );
    if (everywhere.length > 1)
      throw new CacheConfigurationError(
        'CacheModule.forRoot is imported twice, and nobody could tell which of the two a class gets; import it once and share its object, make further caches with CacheModule.forFeature, or set isGlobal: false',
      );
  }

  private check(method: DecoratedMethod, type: { name: string }, lifetime: Lifetime, instance?: object): void {
    const { where, cacheName } = method;
    if (lifetime !== 'singleton' && method.hasHiddenState)
      throw new CacheConfigurationError(
        `${where}: ${type.name} is ${lifetime}, so its results may depend on what its arguments do not show; say what: varyBy: (...args) => ({ … }), or varyBy: () => ({}) if nothing does`,
      );
    const injected = (instance as Record<symbol, CacheService | undefined> | undefined)?.[cacheProperty(cacheName)];
    const cache = injected ?? this.registry.services.find(({ name }) => name === (cacheName ?? 'default'));
    if (cache === undefined)
      throw new CacheConfigurationError(
        `${where}: there is no cache '${cacheName}'; import CacheModule.forFeature({ name: '${cacheName}' })`,
      );
    // An object that this module does not reach runs without a cache, and says so itself.
    if (instance === undefined || injected !== undefined) method.check(cache, type, instance);
  }
}
