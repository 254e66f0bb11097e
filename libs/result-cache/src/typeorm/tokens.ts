import { Inject } from '@nestjs/common';
import { type ObjectLiteral } from 'typeorm';
import { CacheConfigurationError } from '../core/errors.js';
import { nameOfEntity, type EntityReference } from '../entities/watch-options.js';
import { type CachedEntityRepository } from './cached-entity-repository.js';

const numbers = new WeakMap<object, number>();
let last = 0;

/**
 * Injection token of the {@link CachedEntityRepository} of an entity.
 * @param dataSource Name of its DataSource, if `TypeOrmCacheModule.forFeature` names one.
 * @throws CacheConfigurationError for what is no entity.
 */
export function getCachedRepositoryToken(entity: EntityReference, dataSource = 'default'): string {
  if (entity === undefined || entity === null)
    throw new CacheConfigurationError(
      "@InjectCachedRepository(): the entity is undefined, which usually means a circular import; import the entity's own file",
    );
  const name = nameOfEntity(entity);
  if (typeof entity === 'string') return `nestjs-result-cache:${dataSource}:${name}`;
  // Two entities may have the same name.
  let number = numbers.get(entity);
  if (number === undefined) numbers.set(entity, (number = ++last));
  return `nestjs-result-cache:${dataSource}:${name}#${number}`;
}

/**
 * Inject the {@link CachedEntityRepository} of an entity, which `TypeOrmCacheModule.forFeature([…])` provides.
 *
 * @example
 * constructor(@InjectCachedRepository(User) private readonly users: CachedEntityRepository<User>) {}
 */
export function InjectCachedRepository(
  entity: EntityReference,
  dataSource?: string,
): PropertyDecorator & ParameterDecorator {
  return Inject(getCachedRepositoryToken(entity, dataSource));
}

/**
 * The {@link CachedEntityRepository} of an entity where nothing can be injected: in a script, a test, or main.ts.
 *
 * @param from The application, or a `ModuleRef`.
 * @param dataSource Name of its DataSource, if `TypeOrmCacheModule.forFeature` names one.
 * @throws Nest's UnknownElementException where no `TypeOrmCacheModule.forFeature([…])` provides it.
 * @example
 * const users = getCachedRepository(app, User);
 */
export function getCachedRepository<Entity extends ObjectLiteral>(
  from: { get(token: string, options: { strict: false }): unknown },
  entity: (new (...args: any[]) => Entity) | EntityReference,
  dataSource?: string,
): CachedEntityRepository<Entity> {
  const token = getCachedRepositoryToken(entity, dataSource);
  return from.get(token, { strict: false }) as CachedEntityRepository<Entity>;
}
