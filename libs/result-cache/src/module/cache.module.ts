import { Inject, Module, type DynamicModule, type MiddlewareConsumer, type NestModule } from '@nestjs/common';
import { CascadeService } from '../cascade/cascade.service.js';
import { CacheConfigurationError } from '../core/errors.js';
import { CacheKeyBuilder } from '../core/keys.js';
import { ResultCache } from '../core/result-cache.js';
import { PostgresCache } from '../postgres/postgres-cache.js';
import {
  resolveTenancy,
  TENANCY,
  TENANT_ID,
  TenantContext,
  TenantMiddleware,
  tenancyProviders,
  type Tenancy,
} from '../tenancy/index.js';
import { AmbientTransactions } from './ambient-transactions.js';
import { CacheLifecycle } from './cache-lifecycle.js';
import { CacheRegistry } from './cache-registry.js';
import { CacheStatusMiddleware } from './cache-status.middleware.js';
import {
  ConfigurableModuleClass,
  MODULE_OPTIONS_TOKEN,
  type CacheModuleAsyncOptions,
  type CacheModuleExtras,
} from './cache.module-definition.js';
import { CacheService } from './cache.service.js';
import { EntityWatch } from './entity-watch.js';
import { EventLogger } from './event-logger.js';
import { checkAsyncOptions, checkExtras } from './registration.js';
import { checkFeatureOptions, checkRootOptions, type CacheFeatureOptions, type CacheModuleOptions } from './options.js';
import { ObservedDataSources } from './observed-data-sources.js';
import { RequestMiddleware } from './request.middleware.js';
import { StartupCheck } from './startup-check.js';
import { CACHE_OPTIONS, getCacheToken } from './tokens.js';

const fromRegistry = <T>(provide: unknown, pick: (registry: CacheRegistry) => T) => ({
  provide: provide as string,
  useFactory: pick,
  inject: [CacheRegistry],
});

const NO_OPTIONS =
  "CacheModule needs options: it was imported by itself, or the factory of forRootAsync returned nothing; write CacheModule.forRoot({ connection: process.env.DATABASE_URL, tenancy: 'off' })";

/**
 * Result caching in the PostgreSQL that is already there.
 *
 * @example
 * @Module({
 *   imports: [
 *     CacheModule.forRoot({
 *       connection: process.env.DATABASE_URL!,
 *       tenancy: { mode: 'required', resolver: fromHeader('x-tenant-id') },
 *       watch: [{ table: 'users', domain: 'user', tenantColumn: 'tenant_id' }],
 *     }),
 *   ],
 * })
 * export class AppModule {}
 */
@Module({
  providers: [
    {
      provide: CACHE_OPTIONS,
      useFactory: (options?: CacheModuleOptions) => {
        if (options === undefined) throw new CacheConfigurationError(NO_OPTIONS);
        return checkRootOptions(options);
      },
      // Optional, so that who imports the class itself is told what to write, and not of a token that is missing.
      inject: [{ token: MODULE_OPTIONS_TOKEN, optional: true }],
    },
    ...tenancyProviders({
      provide: TENANCY,
      useFactory: ({ tenancy }: CacheModuleOptions): Tenancy => resolveTenancy(tenancy),
      inject: [CACHE_OPTIONS],
    }),
    {
      provide: CacheRegistry,
      useFactory: (options: CacheModuleOptions, tenancy: Tenancy, tenants: TenantContext) =>
        new CacheRegistry(options, tenancy, tenants),
      inject: [CACHE_OPTIONS, TENANCY, TenantContext],
    },
    fromRegistry(CacheService, ({ main }) => main),
    fromRegistry(getCacheToken(), ({ main }) => main),
    fromRegistry(ResultCache, ({ main }) => main.engine),
    fromRegistry(CacheKeyBuilder, ({ main }) => main.keys),
    fromRegistry(PostgresCache, ({ store }) => store),
    fromRegistry(CascadeService, ({ main, store }) => new CascadeService(main.engine, store)),
    CacheStatusMiddleware,
    EntityWatch,
    CacheLifecycle,
    EventLogger,
    StartupCheck,
    AmbientTransactions,
    ObservedDataSources,
  ],
  exports: [
    CacheService,
    getCacheToken(),
    ResultCache,
    CacheKeyBuilder,
    PostgresCache,
    CascadeService,
    CacheRegistry,
    CacheLifecycle,
    EntityWatch,
    TenantContext,
    TENANCY,
    TENANT_ID,
  ],
})
export class CacheModule extends ConfigurableModuleClass implements NestModule {
  constructor(@Inject(CACHE_OPTIONS) private readonly options: CacheModuleOptions) {
    super();
  }

  /**
   * The cache of the application; import it once.
   * @throws CacheConfigurationError for options that cannot be right.
   */
  static override forRoot(options: CacheModuleOptions & CacheModuleExtras): DynamicModule {
    // From untyped code there may be none at all.
    const { isGlobal, ...given } = options ?? ({} as CacheModuleOptions & CacheModuleExtras);
    const checked = checkRootOptions(options && given);
    return super.forRoot({ ...checked, ...checkExtras({ isGlobal }, 'CacheModule.forRoot') });
  }

  /**
   * The same with options from `useFactory`, `useClass` or `useExisting`.
   * @throws CacheConfigurationError without one of them; for the options themselves when the application starts.
   */
  static override forRootAsync(options: CacheModuleAsyncOptions): DynamicModule {
    checkAsyncOptions(options);
    const { isGlobal, ...rest } = options;
    return super.forRootAsync({ ...rest, ...checkExtras({ isGlobal }, 'CacheModule.forRootAsync') });
  }

  /**
   * A cache with a name, its own defaults, statistics and keys, and if asked for its own table. Inject it with
   * `@InjectCache(name)`, name it in a decorator with `cache: name`.
   *
   * And, or instead: `watch` has the tables of TypeORM's entities watched, by what their metadata say: primary keys,
   * tenant columns and foreign keys become tags, junction tables are watched too. Each table feeds the domain that its name
   * suggests (`users`: `user`).
   *
   * @throws CacheConfigurationError here for the options; for entities, which only a DataSource knows, at start.
   * @example CacheModule.forFeature({ name: 'reports', defaultTtl: '1h' })
   * @example CacheModule.forFeature({ watch: [User, { entity: Post, domain: 'article' }] })
   */
  static forFeature(options: CacheFeatureOptions): DynamicModule {
    const { named, watch, where } = checkFeatureOptions(options);
    const token = named === undefined ? Symbol(where) : getCacheToken(named.name);
    return {
      module: CacheFeature,
      global: true,
      providers: [
        {
          provide: token,
          useFactory: (registry?: CacheRegistry) => {
            if (registry === undefined)
              throw new CacheConfigurationError(
                `${where} finds no CacheModule; import CacheModule.forRoot(...) in the application, without isGlobal: false`,
              );
            if (watch !== undefined) registry.watchEntities(watch, where);
            return named === undefined ? watch : registry.forName(named);
          },
          inject: [{ token: CacheRegistry, optional: true }],
        },
      ],
      exports: [token],
    };
  }

  configure(consumer: MiddlewareConsumer): void {
    const middleware = this.options.cacheStatusHeader === false ? TenantMiddleware : RequestMiddleware;
    consumer.apply(middleware).forRoutes('{*path}');
  }
}

/** Carries the providers of `forFeature`. */
@Module({})
class CacheFeature {}
