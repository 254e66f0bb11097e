import { Module, type DynamicModule, type Provider } from '@nestjs/common';
import { type DataSource, type ObjectLiteral } from 'typeorm';
import { CacheConfigurationError } from '../core/errors.js';
import { checkKeys } from '../core/option-keys.js';
import { type Class } from '../core/values/index.js';
import { isWatchedEntity } from '../entities/entity-tables.js';
import {
  checkEntityWatch,
  type EntityReference,
  type EntityWatchOptions,
  type WatchedEntity,
} from '../entities/watch-options.js';
import { CacheModule } from '../module/cache.module.js';
import { type CacheService } from '../module/cache.service.js';
import { EntityWatch } from '../module/entity-watch.js';
import { getCacheToken } from '../module/tokens.js';
import { CachedEntityRepository } from './cached-entity-repository.js';
import { EntityReader } from './entity-reader.js';
import { getCachedRepositoryToken } from './tokens.js';

/** Options of {@link TypeOrmCacheModule.forFeature}, for all of its entities. */
export interface CachedRepositoryOptions extends Omit<EntityWatchOptions, 'watch'> {
  /** Name of a cache of `CacheModule.forFeature`. Default: the module's. */
  cache?: string;
  /** Classes that column transformers make (`Decimal`), so that a process which never made one can revive them. */
  classes?: readonly Class[];
}

export const REPOSITORY_KEYS = ['cache', 'classes', 'dataSource', 'tenantColumn'] as const;

/** Cached repositories of TypeORM's entities. Beside `TypeOrmModule.forFeature`, and written like it. */
@Module({})
export class TypeOrmCacheModule {
  /**
   * Provide a {@link CachedEntityRepository} for each entity, and have their tables watched. Entities that are only
   * joined need no repository, but their tables must be watched: list them too, or `CacheModule.forFeature({ watch })`.
   *
   * @throws CacheConfigurationError
   * @example
   * imports: [TypeOrmModule.forFeature([User, Post]), TypeOrmCacheModule.forFeature([User, Post])]
   */
  static forFeature(
    entities: readonly (EntityReference | WatchedEntity)[],
    options: CachedRepositoryOptions = {},
  ): DynamicModule {
    const where = 'TypeOrmCacheModule.forFeature';
    checkKeys(options, REPOSITORY_KEYS, where);
    const { cache, classes, ...rest } = options;
    if (!Array.isArray(entities) || entities.length === 0)
      throw new CacheConfigurationError(`${where} needs a list of entities; write ${where}([User, Post])`);
    checkEntityWatch({ watch: entities, ...rest }, where);
    if (cache !== undefined && (typeof cache !== 'string' || cache === ''))
      throw new CacheConfigurationError(`${where}: cache is no name; write the name of a CacheModule.forFeature`);
    if (classes !== undefined && !Array.isArray(classes))
      throw new CacheConfigurationError(`${where}: classes is no list; write classes: [Decimal]`);
    const references = entities.map((item: EntityReference | WatchedEntity) =>
      isWatchedEntity(item) ? item.entity : item,
    );
    const providers = references.map((entity) => provider(entity, options, where));
    return {
      module: TypeOrmCacheModule,
      imports: [CacheModule.forFeature({ watch: entities, ...rest })],
      providers,
      exports: references.map((entity) => getCachedRepositoryToken(entity, options.dataSource)),
    };
  }
}

function provider(
  entity: EntityReference,
  { cache, classes, dataSource }: CachedRepositoryOptions,
  where: string,
): Provider {
  return {
    provide: getCachedRepositoryToken(entity, dataSource),
    useFactory: (service?: CacheService, watch?: EntityWatch) => {
      if (watch === undefined)
        throw new CacheConfigurationError(
          `${where} finds no CacheModule; import CacheModule.forRoot(...) in the application, without isGlobal: false`,
        );
      if (service === undefined)
        throw new CacheConfigurationError(
          `${where}: there is no cache '${cache}'; import CacheModule.forFeature({ name: '${cache}' })`,
        );
      let source: DataSource | undefined;
      return new CachedEntityRepository<ObjectLiteral>(
        new EntityReader(service, dataSource ?? 'default', classes),
        // When it is first used: a DataSource may be made after this provider.
        () => {
          source ??= watch.dataSource(dataSource, [entity], where) as unknown as DataSource;
          return source.getRepository<ObjectLiteral>(entity as never);
        },
      );
    },
    inject: [
      { token: getCacheToken(cache), optional: true },
      { token: EntityWatch, optional: true },
    ],
  };
}
