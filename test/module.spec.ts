import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { Controller, Get, Injectable, Logger, Module, Param, Query, type INestApplication } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import {
  CacheModule,
  CacheResult,
  CacheService,
  fromHeader,
  InjectCache,
  InvalidatesDomain,
  PostgresCache,
} from 'nestjs-result-cache';
import request from 'supertest';
import { settle } from './support/caches.js';
import { createDatabase, type TestDatabase } from './support/database.js';

let database: TestDatabase;
let app: INestApplication;

@Injectable()
class UsersService {
  calls = 0;

  constructor(@InjectCache('reports') readonly reports: CacheService) {}

  @CacheResult({ domains: ['user'], ttl: '5m' })
  async names(limit = 10): Promise<string[]> {
    this.calls++;
    const { rows } = await database.pool.query<{ name: string }>('SELECT name FROM users ORDER BY id LIMIT $1', [
      limit,
    ]);
    return rows.map(({ name }) => name);
  }

  @InvalidatesDomain('user')
  async touch(): Promise<void> {}
}

@Controller()
class UsersController {
  constructor(private readonly users: UsersService) {}

  @Get('names')
  async names(@Query('limit') limit?: string): Promise<string[]> {
    return this.users.names(limit === undefined ? undefined : Number(limit));
  }

  @CacheResult({ domains: ['user'] })
  @Get('users/:id')
  async user(@Param('id') id: string): Promise<unknown> {
    return (await database.pool.query('SELECT * FROM users WHERE id = $1', [id])).rows[0];
  }
}

beforeAll(async () => {
  database = await createDatabase();
  await database.pool.query(
    `CREATE TABLE users (id int PRIMARY KEY, tenant_id text, name text); INSERT INTO users VALUES (1, 'acme', 'Ada')`,
  );

  @Module({
    imports: [
      CacheModule.forRoot({
        connection: database.url,
        tenancy: { mode: 'required', resolver: fromHeader('x-tenant-id') },
        watch: [{ table: 'users', domain: 'user', tenantColumn: 'tenant_id' }],
      }),
      CacheModule.forFeature({ name: 'reports', defaultTtl: '1h' }),
    ],
    controllers: [UsersController],
    providers: [UsersService],
  })
  class AppModule {}

  app = (await Test.createTestingModule({ imports: [AppModule] }).compile()).createNestApplication();
  await app.init();
  await settle(app.get(PostgresCache));
});

afterAll(async () => {
  await app.close();
  await database.drop();
});

const get = (path: string, tenant?: string) => {
  const call = request(app.getHttpServer()).get(path);
  return tenant === undefined ? call : call.set('x-tenant-id', tenant);
};

describe('an application with the module', () => {
  it('caches a service and a controller per tenant, and says so in Cache-Status', async () => {
    const first = await get('/names', 'acme');
    expect(first.body).toEqual(['Ada']);
    expect(first.headers['cache-status']).toBe('default; fwd=miss; detail="0 of 1 hit"');
    await app.get(CacheService).engine.drain();
    const second = await get('/names', 'acme');
    expect(second.headers['cache-status']).toMatch(/^default; hit; ttl=29\d; detail="memory"$/);
    expect((await get('/names', 'globex')).headers['cache-status']).toContain('fwd=miss');
    await get('/users/1', 'acme');
    await app.get(CacheService).engine.drain();
    expect((await get('/users/1', 'acme')).headers['cache-status']).toContain('hit');
    expect((await get('/users/2', 'acme')).headers['cache-status']).toContain('miss');
  });

  it('answers 400 without a tenant, and caches nothing', async () => {
    const before = await app.get(CacheService).getStats();
    expect((await get('/names')).status).toBe(400);
    const after = await app.get(CacheService).getStats();
    expect(after.totalEntries).toBe(before.totalEntries);
  });

  it('sees a change made in SQL at the next request', async () => {
    await get('/names', 'acme');
    await database.pool.query(`UPDATE users SET name = 'Ada L.'`);
    expect((await get('/names', 'acme')).body).toEqual(['Ada L.']);
  });

  it('keeps nothing that an open transaction computes, where it is told of it', async () => {
    const cache = app.get(CacheService);
    const client = await database.pool.connect();
    const names = async (): Promise<number> =>
      Number((await client.query<{ count: string }>('SELECT count(*) FROM users')).rows[0]!.count);
    const options = { domains: ['user'], tenant: 'shared' } as const;
    try {
      const before = await names();
      await client.query('BEGIN');
      await client.query(`INSERT INTO users VALUES (99, 'acme', 'nobody')`);
      expect(await cache.getOrSet('count', names, { ...options, within: client })).toBe(before + 1);
      await client.query('ROLLBACK');
      expect(await cache.getOrSet('count', names, { ...options, within: client })).toBe(before);
    } finally {
      client.release();
    }
  });

  it('reports at start which domains cannot be cached, and why', async () => {
    await database.pool.query('CREATE TABLE odd (id int PRIMARY KEY)');
    const watch = [{ table: 'odd', domain: 'odd' }];
    const module = CacheModule.forRoot({ connection: database.url, tenancy: 'off', watch, prefix: 'odd' });
    const first = await Test.createTestingModule({ imports: [module] }).compile();
    await first.init();
    await first.close();
    await database.pool.query('ALTER TABLE odd DISABLE TRIGGER fraiseql_cache_update');
    const warnings: string[] = [];
    const warn = jest.spyOn(Logger.prototype, 'warn').mockImplementation((message: unknown) => {
      warnings.push(String(message));
    });
    const again = CacheModule.forRoot({ connection: database.url, tenancy: 'off', prefix: 'odd' });
    const second = await Test.createTestingModule({ imports: [again] }).compile();
    await second.init();
    await second.close();
    warn.mockRestore();
    expect(warnings).toEqual([
      "The domain 'odd' is not cached: odd: trigger fraiseql_cache_update is not ENABLE ALWAYS",
    ]);
    await database.pool.query('DROP TABLE odd');
  });
});
