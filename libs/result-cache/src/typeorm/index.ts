export { CachedEntityRepository } from './cached-entity-repository.js';
export { CachedQuery } from './cached-query.js';
export { type EntityReadOptions } from './read-options.js';
export { getCachedRepositoryToken, InjectCachedRepository } from './tokens.js';
export { TypeOrmCacheModule, type CachedRepositoryOptions } from './typeorm-cache.module.js';
