import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Controller, type DynamicModule, Get, Inject, type INestApplication, Module, type Type } from '@nestjs/common';
import { HealthCheck, HealthCheckService, type HealthIndicatorService, TerminusModule } from '@nestjs/terminus';
import { Test } from '@nestjs/testing';
import request from 'supertest';
import { CacheConfigurationError, PostgresCache, ResultCache } from 'nestjs-result-cache';
import { CacheHealthIndicator, CacheHealthModule, type CacheHealthDetails } from 'nestjs-result-cache/health';
import { closeCaches, openCache, type TestCache } from '../../../../test/support/caches.js';
import { createDatabase, type TestDatabase } from '../../../../test/support/database.js';
import { installSettled } from '../../../../test/support/settled.js';

let database: TestDatabase;
let main: TestCache;
let reports: TestCache;
let app: INestApplication | undefined;

beforeAll(async () => {
  database = await createDatabase();
  await installSettled(database);
});

beforeEach(async () => {
  main = await openCache(database, {}, { name: 'main' });
  reports = await openCache(database, { tableName: 'reports' }, { name: 'reports' });
});

afterEach(async () => {
  await app?.close();
  app = undefined;
  await database.pool.query('TRUNCATE fraiseql_cache.fraiseql_cache, fraiseql_cache.reports');
});

afterAll(async () => {
  await closeCaches();
  await database.drop();
});

@Controller('health')
class HealthController {
  constructor(
    @Inject(HealthCheckService) private readonly health: HealthCheckService,
    @Inject(CacheHealthIndicator) private readonly caches: CacheHealthIndicator,
  ) {}

  @Get()
  @HealthCheck({ swaggerDocumentation: false })
  check() {
    return this.health.check([() => this.caches.isHealthy()]);
  }

  @Get('reports')
  @HealthCheck({ swaggerDocumentation: false })
  checkReports() {
    return this.health.check([() => this.caches.isHealthy('reports', { caches: ['reports'] })]);
  }
}

async function serve(
  health: Type | DynamicModule = CacheHealthModule,
  caches: TestCache[] = [main, reports],
): Promise<ReturnType<INestApplication['getHttpServer']>> {
  @Module({
    imports: [TerminusModule, health],
    controllers: [HealthController],
    providers: caches.flatMap(({ cache, store }, index) => [
      { provide: index === 0 ? ResultCache : `cache ${index}`, useValue: cache },
      { provide: index === 0 ? PostgresCache : `store ${index}`, useValue: store },
    ]),
  })
  class AppModule {}
  const testing = await Test.createTestingModule({ imports: [AppModule] }).compile();
  app = testing.createNestApplication({ logger: false });
  await app.init();
  return app.getHttpServer();
}

interface Answer {
  status: string;
  details: Record<string, CacheHealthDetails & { status: string }>;
}

async function ask(server: any, path = '/health', expected = 200): Promise<Answer> {
  return (await request(server).get(path).expect(expected)).body as Answer;
}

async function expire(entries: number, table = 'fraiseql_cache'): Promise<void> {
  await database.pool.query(
    `INSERT INTO fraiseql_cache.${table} (cache_key, cache_value, expires_at, tags, lo, hi, open, incarnation, proof, cached_at, value_bytes)
     SELECT 'k' || n, '1', now() - interval '1 minute', '{}', 1, 1, '{}', gen_random_uuid(), '', now(), 1 FROM generate_series(1, $1::int) n`,
    [entries],
  );
}

async function read({ cache }: TestCache, hits: number, misses: number): Promise<void> {
  await cache.set('stored', 1);
  await Promise.all(Array.from({ length: hits }, () => cache.get('stored')));
  await Promise.all(Array.from({ length: misses }, (_, n) => cache.get(`missing ${n}`)));
}

describe('CacheHealthIndicator', () => {
  it('is up, with the figures of every cache of the application', async () => {
    await read(main, 90, 10);
    const { status, details } = await ask(await serve());
    expect(status).toBe('ok');
    expect(details.cache).toEqual({
      status: 'up',
      problems: [],
      hints: [],
      caches: {
        main: {
          available: true,
          breaker: 'closed',
          problems: [],
          hints: [],
          hits: 90,
          misses: 10,
          hitRate: 0.9,
          totalEntries: 1,
          expiredEntries: 0,
          tableSizeBytes: expect.any(Number),
        },
        reports: expect.objectContaining({ available: true, hits: 0, totalEntries: 0 }),
      },
    });
  });

  it('is degraded, with status 200, beyond 10,000 expired entries', async () => {
    await expire(10_001);
    const { status, details } = await ask(await serve());
    expect(status).toBe('degraded');
    expect(details.cache!.status).toBe('degraded');
    expect(details.cache!.problems).toEqual([expect.stringMatching(/^main: 10,001 expired entries/)]);
  });

  it('is up at 10,000 expired entries', async () => {
    await expire(10_000);
    expect((await ask(await serve())).status).toBe('ok');
  });

  it('is degraded, with status 200, where a table is too large', async () => {
    const server = await serve(CacheHealthModule.forRoot({ maxTableSizeBytes: 50_000, maxAge: 0 }));
    expect((await ask(server)).status).toBe('ok');
    await expire(2_000, 'reports');
    const { status, details } = await ask(server);
    expect(status).toBe('degraded');
    expect(details.cache!.problems).toEqual([expect.stringMatching(/^reports: the table holds .* over 50,000/)]);
  });

  it('is degraded, with status 200, where most of 100 reads miss', async () => {
    await read(main, 40, 60);
    const { status, details } = await ask(await serve());
    expect(status).toBe('degraded');
    expect(details.cache!.problems).toEqual([expect.stringContaining('hit rate 40 %')]);
  });

  it('does not judge 99 reads', async () => {
    await read(main, 0, 99);
    expect((await ask(await serve())).status).toBe('ok');
  });

  it('is up with a hint where more reads could hit', async () => {
    await read(main, 75, 25);
    const { status, details } = await ask(await serve());
    expect(status).toBe('ok');
    expect(details.cache!.hints).toEqual([expect.stringContaining('under 80 %')]);
  });

  it('checks one cache by its name', async () => {
    await expire(10_001);
    const server = await serve();
    expect((await ask(server)).status).toBe('degraded');
    const { status, details } = await ask(server, '/health/reports');
    expect(status).toBe('ok');
    expect(Object.keys(details.reports!.caches)).toEqual(['reports']);
    await expect(app!.get(CacheHealthIndicator).isHealthy('x', { caches: ['report'] })).rejects.toThrow(
      "no cache is called 'report'; there are 'main', 'reports'",
    );
  });

  it('keeps two caches of one name apart', async () => {
    const twin = await openCache(database, { tableName: 'reports' }, { name: 'main' });
    const { details } = await ask(await serve(CacheHealthModule, [main, twin]));
    expect(Object.keys(details.cache!.caches)).toEqual(['main', 'main (2)']);
  });

  it('tells the trouble of a shared table once, with the names of all that share it', async () => {
    await expire(10_001);
    const sharing: TestCache = { store: main.store, cache: new ResultCache({ store: main.store, name: 'sharing' }) };
    const { details } = await ask(await serve(CacheHealthModule, [main, sharing, reports]));
    expect(details.cache!.problems).toEqual([expect.stringMatching(/^main, sharing: 10,001 expired/)]);
  });

  describe('when the database is gone', () => {
    let lost: TestCache;

    beforeEach(async () => {
      const doomed = await createDatabase();
      lost = await openCache(doomed, {}, { name: 'lost' });
      await doomed.drop();
    });

    it('is degraded, with status 200', async () => {
      const { status, details } = await ask(await serve(CacheHealthModule, [lost]));
      expect(status).toBe('degraded');
      expect(details.cache).toMatchObject({
        status: 'degraded',
        problems: [expect.stringContaining('cannot be used')],
        caches: { lost: { available: false } },
      });
    });

    it('is down, with status 503, where that was asked for', async () => {
      const { status, details } = await ask(
        await serve(CacheHealthModule.forRoot({ whenUnavailable: 'down' }), [lost]),
        '/health',
        503,
      );
      expect(status).toBe('error');
      expect(details.cache!.status).toBe('down');
    });

    it('is only degraded by a threshold, even then', async () => {
      await expire(10_001);
      const server = await serve(CacheHealthModule.forRoot({ whenUnavailable: 'down' }), [main]);
      expect((await ask(server)).status).toBe('degraded');
    });
  });

  it('is degraded where the application has no cache, and says what is missing', async () => {
    const { status, details } = await ask(await serve(CacheHealthModule, []));
    expect(status).toBe('degraded');
    expect(details.cache!.problems).toEqual([expect.stringContaining('CacheModule.forRoot')]);
  });

  it('takes its options from a factory', async () => {
    await expire(2);
    const health = CacheHealthModule.forRootAsync({ useFactory: async () => ({ maxExpiredEntries: 1 }) });
    expect((await ask(await serve(health))).status).toBe('degraded');
  });

  it('does not start with a wrong option', async () => {
    await expect(serve(CacheHealthModule.forRoot({ minHitRate: 50 }))).rejects.toThrow(CacheConfigurationError);
  });

  it('says degraded in the details where terminus has no such status (before 12)', async () => {
    const result =
      (status: string) =>
      (details: object): object => ({ cache: { status, ...details } });
    const older = { check: () => ({ up: result('up'), down: result('down') }) } as unknown as HealthIndicatorService;
    const indicator = new CacheHealthIndicator(older, { all: () => [main.cache] }, { maxExpiredEntries: 0 });
    expect(await indicator.isHealthy()).toMatchObject({ cache: { status: 'up', problems: [] } });
    expect((await indicator.isHealthy()).cache).not.toHaveProperty('degraded');
    await expire(1);
    const later = new CacheHealthIndicator(older, { all: () => [main.cache] }, { maxExpiredEntries: 0 });
    expect(await later.isHealthy()).toMatchObject({
      cache: { status: 'up', degraded: true, problems: [expect.stringContaining('1 expired')] },
    });
  });
});
