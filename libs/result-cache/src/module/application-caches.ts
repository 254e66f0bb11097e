import { Inject, Injectable } from '@nestjs/common';
import { DiscoveryService } from '@nestjs/core';
import { ResultCache } from '../core/index.js';
import { CacheService } from './cache.service.js';

/**
 * Every `ResultCache` that the application provides, by itself or behind a `CacheService`, whatever the token: the default
 * one, named ones, your own. Health and metrics look here, so that a second cache is watched without being listed
 * anywhere. Needs `DiscoveryModule`.
 */
@Injectable()
export class ApplicationCaches {
  constructor(@Inject(DiscoveryService) private readonly discovery: DiscoveryService) {}

  /**
   * The caches there are now, each once; those that stand for themselves first, as the default one does. Complete when
   * the application has started.
   */
  all(): ResultCache[] {
    const caches = new Set<ResultCache>();
    const behindServices = new Set<ResultCache>();
    for (const wrapper of this.discovery.getProviders()) {
      // The instance of a request-scoped provider is a bare prototype here.
      if (!wrapper.isDependencyTreeStatic()) continue;
      const instance: unknown = wrapper.instance;
      if (instance instanceof ResultCache) caches.add(instance);
      else if (instance instanceof CacheService) behindServices.add(instance.engine);
    }
    return [...new Set([...caches, ...behindServices])];
  }
}
