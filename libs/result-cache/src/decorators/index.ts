export { CacheResult, type CacheResultOptions } from './cache-result.decorator.js';
export { InvalidatesDomain, type InvalidatesOptions } from './invalidates-domain.decorator.js';
