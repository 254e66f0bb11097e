export { CacheHealthIndicator, type CacheHealthDetails } from './cache-health.indicator.js';
export { CacheHealthModule } from './cache-health.module.js';
export { type CacheDiagnosis } from './diagnosis.js';
export { type CacheHealthOptions } from './health-options.js';
