import { type DynamicModule, Module } from '@nestjs/common';
import { DiscoveryModule } from '@nestjs/core';
import { TerminusModule } from '@nestjs/terminus';
import { ApplicationCaches } from '../module/application-caches.js';
import { CacheHealthIndicator } from './cache-health.indicator.js';
import { ConfigurableModuleClass } from './cache-health.module-definition.js';
import { type CacheHealthOptions } from './health-options.js';

/**
 * Provides {@link CacheHealthIndicator} over all caches of the application. With the default thresholds the class itself
 * can be imported.
 *
 * @example
 * imports: [TerminusModule, CacheHealthModule]
 * @example
 * imports: [TerminusModule, CacheHealthModule.forRoot({ minHitRate: 0.7 })]
 */
@Module({
  imports: [DiscoveryModule, TerminusModule],
  providers: [ApplicationCaches, CacheHealthIndicator],
  exports: [CacheHealthIndicator],
})
export class CacheHealthModule extends ConfigurableModuleClass {
  /** Wrong options fail when the application is created. */
  static override forRoot(options: CacheHealthOptions = {}): DynamicModule {
    return super.forRoot(options);
  }
}
