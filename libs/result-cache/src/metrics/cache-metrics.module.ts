import { type DynamicModule, Inject, Module, type OnModuleDestroy, type OnModuleInit } from '@nestjs/common';
import { DiscoveryModule } from '@nestjs/core';
import { collectDefaultMetrics } from 'prom-client';
import { ApplicationCaches } from '../module/application-caches.js';
import {
  CACHE_METRICS_OPTIONS,
  type CacheMetricsExtras,
  type CacheMetricsOptions,
  ConfigurableModuleClass,
} from './cache-metrics.module-definition.js';
import { PrometheusCacheMetrics } from './prometheus-cache-metrics.js';

/**
 * Prometheus metrics of all caches, at `/metrics`.
 *
 * Events are counted from `onModuleInit` to `onModuleDestroy`. Importing it twice with one registry counts once.
 *
 * @example
 * imports: [CacheModule.forRoot({ … }), CacheMetricsModule.forRoot()]
 * @example An application that serves `prom-client`'s registry already:
 * imports: [CacheMetricsModule.forRoot({ path: false })]
 */
@Module({
  imports: [DiscoveryModule],
  providers: [
    ApplicationCaches,
    {
      provide: PrometheusCacheMetrics,
      inject: [CACHE_METRICS_OPTIONS, ApplicationCaches],
      useFactory: ({ defaultMetrics, ...options }: CacheMetricsOptions, caches: ApplicationCaches) => {
        const metrics = new PrometheusCacheMetrics({ ...options, caches: () => caches.all() });
        if (defaultMetrics) collectProcessMetrics(metrics);
        return metrics;
      },
    },
  ],
  exports: [PrometheusCacheMetrics],
})
export class CacheMetricsModule extends ConfigurableModuleClass implements OnModuleInit, OnModuleDestroy {
  constructor(@Inject(PrometheusCacheMetrics) private readonly metrics: PrometheusCacheMetrics) {
    super();
  }

  /** @throws CacheConfigurationError for a wrong `path`; other options are checked when the module is created. */
  static override forRoot(options: CacheMetricsOptions & CacheMetricsExtras = {}): DynamicModule {
    return super.forRoot(options);
  }

  onModuleInit(): void {
    this.metrics.subscribe();
  }

  onModuleDestroy(): void {
    this.metrics.unsubscribe();
  }
}

/** `collectDefaultMetrics` throws where its metrics exist, and cannot be asked. */
function collectProcessMetrics({ registry }: PrometheusCacheMetrics): void {
  if (registry.getSingleMetric('process_cpu_user_seconds_total') === undefined)
    collectDefaultMetrics({ register: registry });
}
