export { CacheResult } from './cache-result.decorator.js';
export { type CacheResultOptions } from './cache-result-options.js';
export { InvalidatesDomain, type InvalidatesOptions } from './invalidates-domain.decorator.js';
