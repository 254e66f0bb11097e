import { Injectable, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { ScheduleModule } from '@nestjs/schedule';
import { TerminusModule } from '@nestjs/terminus';
import { CacheModule, fromHeader } from 'nestjs-result-cache';
import { CacheHealthModule } from 'nestjs-result-cache/health';
import { CacheMetricsModule } from 'nestjs-result-cache/metrics';
import { Pool } from 'pg';
import { Database, PostsController, PostsService } from './posts.js';

@Injectable()
class PoolDatabase extends Database {
  private readonly pool = new Pool({ connectionString: process.env.DATABASE_URL });

  async rows<T>(sql: string, values: unknown[]): Promise<T[]> {
    return (await this.pool.query(sql, values)).rows as T[];
  }
}

@Module({
  imports: [
    ScheduleModule.forRoot(),
    TerminusModule,
    CacheModule.forRoot({
      connection: process.env.DATABASE_URL!,
      tenancy: { mode: 'required', resolver: fromHeader('x-tenant-id') },
      watch: [{ table: 'posts', domain: 'post', tenantColumn: 'tenant_id' }],
    }),
    CacheHealthModule,
    CacheMetricsModule.forRoot(),
  ],
  controllers: [PostsController],
  providers: [PostsService, { provide: Database, useClass: PoolDatabase }],
})
class AppModule {}

void NestFactory.create(AppModule, new FastifyAdapter()).then((app) =>
  app.enableShutdownHooks().listen(process.env.PORT ?? 3000),
);
