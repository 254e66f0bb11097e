export { CacheMetricsModule } from './cache-metrics.module.js';
export { type CacheMetricsExtras, type CacheMetricsOptions } from './cache-metrics.module-definition.js';
export { type PrometheusCacheMetricsOptions, type PrometheusRegistry } from './metrics-options.js';
export { PrometheusCacheMetrics } from './prometheus-cache-metrics.js';
