import { Controller, Get, Inject, Injectable, Post } from '@nestjs/common';
import { SchedulerRegistry } from '@nestjs/schedule';
import { HealthCheck, HealthCheckService } from '@nestjs/terminus';
import { CacheResult, InvalidatesDomain, TenantContext } from 'nestjs-result-cache';
import { CacheHealthIndicator } from 'nestjs-result-cache/health';

/** What the projects have in common of a pool and a TypeORM `DataSource`. */
export abstract class Database {
  abstract rows<T>(sql: string, values: unknown[]): Promise<T[]>;
}

@Injectable()
export class PostsService {
  constructor(
    private readonly database: Database,
    private readonly tenant: TenantContext,
  ) {}

  @CacheResult({ domains: ['post'], ttl: '5m' })
  async latest(): Promise<{ title: string; written: Date }[]> {
    return this.database.rows('SELECT title, written FROM posts WHERE tenant_id = $1 ORDER BY id DESC LIMIT 10', [
      this.tenant.require(),
    ]);
  }

  @InvalidatesDomain('post')
  async refresh(): Promise<void> {}
}

@Controller()
export class PostsController {
  constructor(
    private readonly posts: PostsService,
    private readonly health: HealthCheckService,
    private readonly cache: CacheHealthIndicator,
    @Inject(SchedulerRegistry) private readonly scheduler: SchedulerRegistry,
  ) {}

  @Get('posts')
  async latest(): Promise<{ title: string }[]> {
    // On a hit, too, `written` has to be a Date.
    return (await this.posts.latest()).map(({ title, written }) => ({ title, year: written.getUTCFullYear() }));
  }

  @Post('refresh')
  async refresh(): Promise<void> {
    return this.posts.refresh();
  }

  @Get('health')
  @HealthCheck()
  async check(): Promise<unknown> {
    return this.health.check([() => this.cache.isHealthy()]);
  }

  @Get('intervals')
  intervals(): string[] {
    return this.scheduler.getIntervals();
  }
}
