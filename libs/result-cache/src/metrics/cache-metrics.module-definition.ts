import { ConfigurableModuleBuilder } from '@nestjs/common';
import { CacheConfigurationError } from '../core/index.js';
import { metricsController } from './metrics.controller.js';
import { type PrometheusCacheMetricsOptions } from './metrics-options.js';

/** The caches are those that the application provides. */
export interface CacheMetricsOptions extends Omit<PrometheusCacheMetricsOptions, 'caches'> {
  /** Also collect `prom-client`'s metrics of the process (CPU, memory, event loop), if nobody does yet. Default `false`. */
  defaultMetrics?: boolean;
}

/** Options of `CacheMetricsModule.forRoot` beside those of the metrics. */
export interface CacheMetricsExtras {
  /** Where scrapes are answered, below a global prefix if there is one. `false`: the registry is served elsewhere. Default `'/metrics'`. */
  path?: string | false;
}

export const { ConfigurableModuleClass, MODULE_OPTIONS_TOKEN: CACHE_METRICS_OPTIONS } =
  new ConfigurableModuleBuilder<CacheMetricsOptions>({ moduleName: 'CacheMetrics' })
    .setClassMethodName('forRoot')
    .setFactoryMethodName('createCacheMetricsOptions')
    .setExtras<CacheMetricsExtras>({ path: '/metrics' }, (definition, { path = '/metrics' }) => {
      if (path !== false && (typeof path !== 'string' || !path.startsWith('/')))
        throw new CacheConfigurationError(
          `CacheMetricsModule: path ${JSON.stringify(path)} is not a path; write path: '/metrics', or false for none`,
        );
      return path === false ? definition : { ...definition, controllers: [metricsController(path)] };
    })
    .build();
