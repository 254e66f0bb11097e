import { ApolloDriver, type ApolloDriverConfig } from '@nestjs/apollo';
import { Module, type DynamicModule, type MiddlewareConsumer, type NestModule } from '@nestjs/common';
import { GraphQLModule } from '@nestjs/graphql';
import { CacheModule, fromHeader, type CacheModuleOptions } from 'nestjs-result-cache';
import { type DataSource } from 'typeorm';
import { CommentsModule } from './comments/comments.module.js';
import { DashboardModule } from './dashboard/dashboard.module.js';
import { DatabaseModule } from './database/database.module.js';
import { formatGraphqlError } from './graphql-errors.js';
import { OperationsModule } from './operations/operations.module.js';
import { PostsModule } from './posts/posts.module.js';
import { RequireTenantMiddleware, ROUTES_WITHOUT_TENANT } from './tenancy/require-tenant.middleware.js';
import { isTenant, TENANT_HEADER } from './tenancy/tenants.js';
import { UsersModule } from './users/users.module.js';

@Module({})
export class AppModule implements NestModule {
  /** @param databaseUrl where `dataSource` is connected to. */
  /** @param cache What is to be different from the cache's options here. */
  static forRoot(dataSource: DataSource, databaseUrl: string, cache: Partial<CacheModuleOptions> = {}): DynamicModule {
    return {
      module: AppModule,
      imports: [
        DatabaseModule.forRoot(dataSource),
        CacheModule.forRoot({
          // A URL, and so a small pool of the cache's own, rather than the data source: when slow queries hold all
          // connections of the application, what is cached already must not queue behind them.
          connection: databaseUrl,
          // A page of 100 posts is over the default of 100,000.
          maxValueBytes: 1_000_000,
          tenancy: { mode: 'required', resolver: fromHeader(TENANT_HEADER), knownTenant: isTenant },
          ...cache,
        }),
        GraphQLModule.forRoot<ApolloDriverConfig>({
          driver: ApolloDriver,
          autoSchemaFile: true,
          sortSchema: true,
          // A browser could not send the tenant header, so a page to type queries into would only ever show a 400.
          graphiql: false,
          introspection: true,
          includeStacktraceInErrorResponses: false,
          autoTransformHttpErrors: false,
          formatError: formatGraphqlError,
        }),
        UsersModule,
        PostsModule,
        CommentsModule,
        DashboardModule,
        OperationsModule,
      ],
    };
  }

  configure(consumer: MiddlewareConsumer): void {
    consumer
      .apply(RequireTenantMiddleware)
      .exclude(...ROUTES_WITHOUT_TENANT)
      .forRoutes('{*path}');
  }
}
