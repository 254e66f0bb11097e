export {
  type EntityReference,
  type EntityWatchOptions,
  type TenantColumn,
  type WatchedEntity,
} from '../entities/watch-options.js';
export { CacheLifecycle } from './cache-lifecycle.js';
export { CacheModule } from './cache.module.js';
export { type CacheModuleAsyncOptions } from './cache.module-definition.js';
export { CacheRegistry } from './cache-registry.js';
export {
  CacheService,
  type CallOptions,
  type ComputeOptions,
  type InvalidateMethodOptions,
  type TenantChoice,
  type ValueOptions,
} from './cache.service.js';
export {
  type CacheFeatureOptions,
  type CacheModuleOptions,
  type CacheOptions,
  type CacheOptionsFactory,
  type NamedCacheOptions,
} from './options.js';
export { cacheOptionsFromEnv, type EnvironmentOptions } from './options-from-env.js';
export { getCacheToken, InjectCache } from './tokens.js';
