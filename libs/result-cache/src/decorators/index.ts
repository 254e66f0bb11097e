export { CacheResult } from './cache-result.decorator.js';
export { type CacheResultOptions } from './cache-result-options.js';
export { CacheQuery, CacheQueryset, type QuerysetMethodDecorator } from './cache-query.decorator.js';
export { createCachePreset, type CachePreset } from './cache-preset.js';
export { invalidateCache } from './invalidate-cache.js';
export { collect, type Queryset } from './queryset.js';
export { InvalidatesDomain, InvalidatesTags, type InvalidatesOptions } from './invalidates-domain.decorator.js';
