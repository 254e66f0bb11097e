import { ApolloDriver, type ApolloDriverConfig } from '@nestjs/apollo';
import { Module, type DynamicModule, type MiddlewareConsumer, type NestModule } from '@nestjs/common';
import { GraphQLModule } from '@nestjs/graphql';
import { type DataSource } from 'typeorm';
import { CommentsModule } from './comments/comments.module.js';
import { DashboardModule } from './dashboard/dashboard.module.js';
import { DatabaseModule } from './database/database.module.js';
import { formatGraphqlError } from './graphql-errors.js';
import { PostsModule } from './posts/posts.module.js';
import { TenancyModule } from './tenancy/tenancy.module.js';
import { ROUTES_WITHOUT_TENANT, TenantMiddleware } from './tenancy/tenant.middleware.js';
import { UsersModule } from './users/users.module.js';

@Module({})
export class AppModule implements NestModule {
  static forRoot(dataSource: DataSource): DynamicModule {
    return {
      module: AppModule,
      imports: [
        DatabaseModule.forRoot(dataSource),
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
        TenancyModule,
        UsersModule,
        PostsModule,
        CommentsModule,
        DashboardModule,
      ],
    };
  }

  configure(consumer: MiddlewareConsumer): void {
    consumer
      .apply(TenantMiddleware)
      .exclude(...ROUTES_WITHOUT_TENANT)
      .forRoutes('{*path}');
  }
}
