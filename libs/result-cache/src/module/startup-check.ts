import { Inject, Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { ModulesContainer } from '@nestjs/core';
import { CacheConfigurationError } from '../core/errors.js';
import { methodsOf, type DecoratedMethod } from '../decorators/decorated-methods.js';
import { CacheRegistry } from './cache-registry.js';

/**
 * Looks at every decorated method of the application before the first request: options that this cache does not accept,
 * and objects with hidden state, would otherwise be found by a user.
 */
@Injectable()
export class StartupCheck implements OnApplicationBootstrap {
  constructor(
    @Inject(ModulesContainer) private readonly modules: ModulesContainer,
    @Inject(CacheRegistry) private readonly registry: CacheRegistry,
  ) {}

  /** @throws CacheConfigurationError */
  onApplicationBootstrap(): void {
    const checked = new Set<object>();
    for (const module of this.modules.values()) {
      for (const wrapper of [...module.providers.values(), ...module.controllers.values()]) {
        const type = wrapper.metatype as { name: string } | null;
        if (typeof type !== 'function' || wrapper.isAlias || checked.has(type)) continue;
        checked.add(type);
        for (const decorated of methodsOf(type)) this.check(type.name, decorated, wrapper.isDependencyTreeStatic());
      }
    }
  }

  private check(type: string, { method, cacheName, options }: DecoratedMethod, isSingleton: boolean): void {
    const where = `@CacheResult on ${type}.${method}`;
    if (!isSingleton && options.varyBy === undefined)
      throw new CacheConfigurationError(
        `${where}: ${type} is request-scoped, so its results may depend on what its arguments do not show; say what: varyBy: (...args) => ({ … }), or varyBy: () => ({}) if nothing does`,
      );
    const cache = this.registry.services.find(({ name }) => name === (cacheName ?? 'default'));
    if (cache === undefined)
      throw new CacheConfigurationError(
        `${where}: there is no cache '${cacheName}'; import CacheModule.forFeature({ name: '${cacheName}' })`,
      );
    const { ttl, domains, untracked, classes } = options;
    cache.engine.policy({ ttl, domains, untracked, classes, tags: [] }, undefined, where);
  }
}
