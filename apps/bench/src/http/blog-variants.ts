import { CacheInterceptor, CacheModule } from '@nestjs/cache-manager';
import { Controller, Get, Injectable, type ExecutionContext, type INestApplication, type Type } from '@nestjs/common';
import { APP_INTERCEPTOR, ModuleRef } from '@nestjs/core';
import { Test, type TestingModuleBuilder } from '@nestjs/testing';
import { getDataSourceToken } from '@nestjs/typeorm';
import { TenantContext } from 'nestjs-result-cache';
import { CachedEntityRepository, getCachedRepositoryToken } from 'nestjs-result-cache/typeorm';
import { type DataSource } from 'typeorm';
import { AppModule } from '../../../blog/src/app.module.js';
import { type Dashboard } from '../../../blog/src/dashboard/dashboard.model.js';
import { DashboardService } from '../../../blog/src/dashboard/dashboard.service.js';
import { ENTITIES, openDatabase } from '../../../blog/src/database/data-source.js';
import { TENANT_HEADER } from '../../../blog/src/tenancy/tenants.js';

/** How the blog caches: not at all, as it is, or as an application does that has Nest's own caching. */
export type Variant = 'uncached' | 'this library' | 'CacheInterceptor';

/** The dashboard of the GraphQL API for a REST client, because {@link CacheInterceptor} caches nothing else. */
@Controller('dashboard')
class DashboardController {
  private readonly dashboards: () => DashboardService;

  /** The blog's own service, which its module does not export. */
  constructor(modules: ModuleRef) {
    this.dashboards = () => modules.get(DashboardService, { strict: false });
  }

  @Get()
  async get(): Promise<Dashboard & { postsLast24h: number }> {
    const dashboards = this.dashboards();
    const [summary, postsLast24h] = await Promise.all([dashboards.summary(), dashboards.postsLast24Hours()]);
    return { ...summary, postsLast24h };
  }
}

/**
 * As Nest's documentation has it for a global interceptor, with the two changes that this application needs to be right.
 * By itself the key is the URL alone, which would show one tenant's dashboard to all others. And around a resolver it
 * throws: it takes the resolver's first argument for the request. With `@CacheKey` it asks the cache, then fails to set
 * the header `X-Cache` and computes, each time.
 */
@Injectable()
class TenantCacheInterceptor extends CacheInterceptor {
  protected override async trackBy(context: ExecutionContext): Promise<string | undefined> {
    const key = context.getType() === 'http' ? await super.trackBy(context) : undefined;
    if (!key) return undefined;
    const { headers } = context.switchToHttp().getRequest<{ headers: Record<string, string> }>();
    return `${headers[TENANT_HEADER]} ${key}`;
  }
}

/** The same application, on the same database, in one of three variants. Call `init()`, and in the end `close()`. */
export async function createVariant(variant: Variant, databaseUrl: string): Promise<INestApplication> {
  const dataSource = await openDatabase(databaseUrl);
  const interceptor = variant === 'CacheInterceptor';
  const builder = Test.createTestingModule({
    imports: [
      AppModule.forRoot(dataSource, databaseUrl),
      ...(interceptor ? [CacheModule.register({ ttl: 600_000 })] : []),
    ],
    controllers: [DashboardController],
    providers: interceptor ? [{ provide: APP_INTERCEPTOR, useClass: TenantCacheInterceptor }] : [],
  });
  if (variant !== 'this library') withoutCache(builder);
  const module = await builder.compile();
  return module.createNestApplication({ logger: ['error'] });
}

/** Made with `new`, not by Nest: then a decorated method finds no cache, and the repositories are told to use none. */
function withoutCache(builder: TestingModuleBuilder): void {
  builder.overrideProvider(DashboardService).useFactory({
    factory: (dataSource: DataSource, tenants: TenantContext) => new DashboardService(dataSource, tenants),
    inject: [getDataSourceToken() as Type<DataSource>, TenantContext],
  });
  for (const entity of ENTITIES)
    builder.overrideProvider(getCachedRepositoryToken(entity)).useFactory({
      factory: (dataSource: DataSource) => CachedEntityRepository.uncached(dataSource.getRepository<object>(entity)),
      inject: [getDataSourceToken() as Type<DataSource>],
    });
}
