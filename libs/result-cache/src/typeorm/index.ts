export { CachedEntityRepository } from './cached-entity-repository.js';
export { CachedEntity, cachedEntities, type CachedQueryOptions } from './cached-entity.js';
export { CachedQuery } from './cached-query.js';
export { type EntityReadOptions } from './read-options.js';
export { getCachedRepository, getCachedRepositoryToken, InjectCachedRepository } from './tokens.js';
export { TypeOrmCacheModule, type CachedRepositoryOptions } from './typeorm-cache.module.js';
