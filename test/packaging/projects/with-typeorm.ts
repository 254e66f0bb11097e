import { Injectable, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { ScheduleModule } from '@nestjs/schedule';
import { TerminusModule } from '@nestjs/terminus';
import { TypeOrmModule } from '@nestjs/typeorm';
import { CacheModule, fromHeader } from 'nestjs-result-cache';
import { CacheHealthModule } from 'nestjs-result-cache/health';
import { CacheMetricsModule } from 'nestjs-result-cache/metrics';
import { DataSource } from 'typeorm';
import { Database, PostsController, PostsService } from './posts.js';

@Injectable()
class TypeOrmDatabase extends Database {
  constructor(private readonly dataSource: DataSource) {
    super();
  }

  async rows<T>(sql: string, values: unknown[]): Promise<T[]> {
    return this.dataSource.query(sql, values);
  }
}

@Module({
  imports: [
    ScheduleModule.forRoot(),
    TerminusModule,
    TypeOrmModule.forRoot({ type: 'postgres', url: process.env.DATABASE_URL, retryAttempts: 0 }),
    CacheModule.forRootAsync({
      inject: [DataSource],
      useFactory: (connection: DataSource) => ({
        connection,
        tenancy: { mode: 'required', resolver: fromHeader('x-tenant-id') },
        watch: [{ table: 'posts', domain: 'post', tenantColumn: 'tenant_id' }],
      }),
    }),
    CacheHealthModule,
    CacheMetricsModule.forRoot(),
  ],
  controllers: [PostsController],
  providers: [PostsService, { provide: Database, useClass: TypeOrmDatabase }],
})
class AppModule {}

const adapter = process.env.ADAPTER === 'fastify' ? new FastifyAdapter() : new ExpressAdapter();
void NestFactory.create(AppModule, adapter).then((app) => app.enableShutdownHooks().listen(process.env.PORT ?? 3000));
