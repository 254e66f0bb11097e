import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import {
  type CallHandler,
  Controller,
  type DynamicModule,
  type ExecutionContext,
  Get,
  Inject,
  type INestApplication,
  Module,
  type NestInterceptor,
} from '@nestjs/common';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { Test } from '@nestjs/testing';
import { Registry } from 'prom-client';
import { map } from 'rxjs';
import request from 'supertest';
import {
  CacheConfigurationError,
  CacheModule,
  type CacheService,
  InjectCache,
  PostgresCache,
  ResultCache,
} from 'nestjs-result-cache';
import { CacheMetricsModule } from 'nestjs-result-cache/metrics';
import { closeCaches, openCache } from '../../../../test/support/caches.js';
import { createDatabase, type TestDatabase } from '../../../../test/support/database.js';
import { installSettled } from '../../../../test/support/settled.js';
import { events } from '../core/events.js';

let database: TestDatabase;
let cache: ResultCache;
let reports: ResultCache;
let app: INestApplication | undefined;

beforeAll(async () => {
  database = await createDatabase();
  await installSettled(database);
  ({ cache } = await openCache(database, {}, { name: 'main' }));
  ({ cache: reports } = await openCache(database, { tableName: 'reports' }, { name: 'reports' }));
});

afterEach(async () => {
  await app?.close();
  app = undefined;
});

afterAll(async () => {
  await closeCaches();
  await database.drop();
});

@Controller()
class UsersController {
  constructor(@Inject(ResultCache) private readonly cache: ResultCache) {}

  @Get('users')
  async users(): Promise<string[]> {
    const users = await this.cache.getOrSet(UsersController.key, async () => ['Ada'], {
      untracked: true,
      view: 'Users.all',
    });
    await this.cache.drain();
    return users;
  }

  static key = '';
}

/** Wraps every answer, as many applications do. */
class Envelope implements NestInterceptor {
  intercept(_: ExecutionContext, next: CallHandler) {
    return next.handle().pipe(map((data: unknown) => ({ data })));
  }
}

async function start(
  metrics: DynamicModule[],
  adapter: ExpressAdapter | FastifyAdapter = new ExpressAdapter(),
  prepare: (app: INestApplication) => void = () => undefined,
): Promise<INestApplication> {
  UsersController.key = `k${Math.random()}`;
  @Module({
    controllers: [UsersController],
    providers: [
      { provide: ResultCache, useValue: cache },
      { provide: PostgresCache, useValue: cache.store },
      { provide: 'the one for reports', useValue: reports },
    ],
  })
  class AppModule {}
  const testing = await Test.createTestingModule({ imports: [AppModule, ...metrics] }).compile();
  app = testing.createNestApplication<INestApplication>(adapter as ExpressAdapter, { logger: false });
  prepare(app);
  await app.init();
  if (adapter instanceof FastifyAdapter) await adapter.getInstance().ready();
  return app;
}

const lines = (text: string, name: string): string[] => text.split('\n').filter((line) => line.startsWith(name));

describe.each([
  ['Express', () => new ExpressAdapter()],
  ['Fastify', () => new FastifyAdapter()],
])('CacheMetricsModule on %s', (_, adapter) => {
  it('serves what real reads did, of all caches of the application', async () => {
    const server = (await start([CacheMetricsModule.forRoot({ registry: new Registry() })], adapter())).getHttpServer();
    await request(server).get('/users').expect(200, ['Ada']);
    await request(server).get('/users').expect(200, ['Ada']);
    await request(server).get('/users').expect(200, ['Ada']);
    const { text, headers } = await request(server).get('/metrics').expect(200);
    expect(headers['content-type']).toBe('text/plain; version=0.0.4; charset=utf-8');
    expect(text).toContain('# TYPE fraiseql_cache_hits_total counter');
    expect(text).toContain('# TYPE fraiseql_cache_get_duration_seconds histogram');
    expect(lines(text, 'fraiseql_cache_hits_total')).toEqual([
      'fraiseql_cache_hits_total{cache="main",view_name="Users.all",tier="memory"} 2',
    ]);
    expect(lines(text, 'fraiseql_cache_misses_total')).toEqual([
      'fraiseql_cache_misses_total{cache="main",view_name="Users.all"} 1',
    ]);
    expect(lines(text, 'fraiseql_cache_entries_total{cache="main"}')[0]).toMatch(/ [1-9]\d*$/);
    expect(lines(text, 'fraiseql_cache_entries_total{cache="reports"}')).toEqual([
      'fraiseql_cache_entries_total{cache="reports"} 0',
    ]);
  });

  it('is not wrapped by an interceptor of the application', async () => {
    const server = (
      await start([CacheMetricsModule.forRoot({ registry: new Registry() })], adapter(), (starting) =>
        starting.useGlobalInterceptors(new Envelope()),
      )
    ).getHttpServer();
    await request(server)
      .get('/users')
      .expect(200, { data: ['Ada'] });
    const { text } = await request(server).get('/metrics').expect(200);
    expect(text).toMatch(/^# HELP fraiseql_cache_/);
  });
});

describe('CacheMetricsModule', () => {
  it('sees the caches of CacheModule; a table that two share stands once', async () => {
    @Controller()
    class ReportsController {
      constructor(@InjectCache('reports') private readonly reports: CacheService) {}

      @Get('report')
      report(): Promise<number> {
        return this.reports.getOrSet('report', async () => 1, { untracked: true, view: 'Reports.one' });
      }
    }
    @Module({
      imports: [
        CacheModule.forFeature({ name: 'reports' }),
        CacheModule.forFeature({ name: 'archive', tableName: 'archive' }),
        CacheModule.forRoot({ connection: database.url, tenancy: 'off' }),
        CacheMetricsModule.forRoot({ registry: new Registry() }),
      ],
      controllers: [ReportsController],
    })
    class AppModule {}
    const testing = await Test.createTestingModule({ imports: [AppModule] }).compile();
    app = await testing.createNestApplication({ logger: false }).init();
    await request(app.getHttpServer()).get('/report').expect(200);
    const { text } = await request(app.getHttpServer()).get('/metrics').expect(200);
    expect(lines(text, 'fraiseql_cache_misses_total')).toEqual([
      'fraiseql_cache_misses_total{cache="reports",view_name="Reports.one"} 1',
    ]);
    expect(lines(text, 'fraiseql_cache_table_size_bytes').map((line) => line.split(' ')[0])).toEqual([
      'fraiseql_cache_table_size_bytes{cache="default"}',
      'fraiseql_cache_table_size_bytes{cache="archive"}',
    ]);
    expect(lines(text, 'fraiseql_cache_up').sort()).toEqual([
      'fraiseql_cache_up{cache="archive"} 1',
      'fraiseql_cache_up{cache="default"} 1',
      'fraiseql_cache_up{cache="reports"} 1',
    ]);
  });

  it('may be imported twice with one registry, and then counts once', async () => {
    const registry = new Registry();
    const modules = [
      CacheMetricsModule.forRoot({ registry }),
      CacheMetricsModule.forRoot({ registry, path: '/internal/metrics' }),
    ];
    const server = (await start(modules)).getHttpServer();
    await request(server).get('/users').expect(200);
    for (const path of ['/metrics', '/internal/metrics']) {
      const { text } = await request(server).get(path).expect(200);
      expect(lines(text, 'fraiseql_cache_misses_total')).toEqual([expect.stringMatching(/ 1$/)]);
    }
  });

  it('stops listening when the application closes', async () => {
    const registry = new Registry();
    await start([CacheMetricsModule.forRoot({ registry })]);
    expect(events.hasSubscribers).toBe(true);
    await app!.close();
    expect(events.hasSubscribers).toBe(false);
    expect(registry.getMetricsAsArray()).toEqual([]);
  });

  it('feeds a registry that is served elsewhere', async () => {
    const registry = new Registry();
    const server = (await start([CacheMetricsModule.forRoot({ registry, path: false })])).getHttpServer();
    await request(server).get('/users').expect(200);
    await request(server).get('/metrics').expect(404);
    expect(lines(await registry.metrics(), 'fraiseql_cache_misses_total')).toHaveLength(1);
  });

  it('takes its options from a factory, and metrics of the process when asked', async () => {
    const registry = new Registry();
    const modules = ['/metrics', '/again'].map((path) =>
      CacheMetricsModule.forRootAsync({
        path,
        useFactory: async () => ({ registry, prefix: 'blog_cache_', defaultMetrics: true }),
      }),
    );
    const { text } = await request((await start(modules)).getHttpServer())
      .get('/metrics')
      .expect(200);
    expect(text).toContain('# TYPE blog_cache_hits_total counter');
    expect(text).toContain('process_cpu_user_seconds_total');
  });

  it('does not start with a wrong option', async () => {
    expect(() => CacheMetricsModule.forRoot({ path: 'metrics' })).toThrow(/path: '\/metrics'/);
    await expect(start([CacheMetricsModule.forRoot({ prefix: '9' })])).rejects.toThrow(CacheConfigurationError);
  });
});
