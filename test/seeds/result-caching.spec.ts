import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { ApolloDriver, type ApolloDriverConfig } from '@nestjs/apollo';
import { Controller, Get, Injectable, Logger, Module, type LoggerService } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { Context, GraphQLModule, Query, Resolver } from '@nestjs/graphql';
import { Test } from '@nestjs/testing';
import {
  CachedRepository,
  CacheKeyBuilder,
  CacheModule,
  CacheLifecycle,
  CacheResult,
  CacheService,
  fromHeader,
  PostgresCache,
  ResultCache,
  TenantContext,
} from 'nestjs-result-cache';
import { CacheHealthIndicator, CacheHealthModule } from 'nestjs-result-cache/health';
import { PrometheusCacheMetrics } from 'nestjs-result-cache/metrics';
import pg from 'pg';
import { Registry } from 'prom-client';
import request from 'supertest';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { closeNest, startNest } from '../support/nest.js';
import { installSettled } from '../support/settled.js';

// Every example of the requirements on result caching, under its heading. docs/result-caching.md shows these bodies.

let database: TestDatabase;
let databaseUrl: string;
let pool: pg.Pool;
let postgresCache: PostgresCache;
let cache: ResultCache;
const keys = new CacheKeyBuilder();
const watch = [{ table: 'users', domain: 'user', tenantColumn: 'tenant_id' }];
const opened: PostgresCache[] = [];

beforeAll(async () => {
  database = await createDatabase();
  databaseUrl = database.url;
  pool = database.pool;
  await installSettled(database);
  await pool.query(`
    CREATE TABLE users (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, tenant_id text NOT NULL, name text NOT NULL,
                        email text, status text NOT NULL DEFAULT 'active', created_at timestamptz NOT NULL DEFAULT now());
    CREATE VIEW v_user AS SELECT id, tenant_id, name, email, status FROM users;
    CREATE FUNCTION create_user(tenant_id text, name text, email text) RETURNS users LANGUAGE sql AS
      $$ INSERT INTO users (tenant_id, name, email) VALUES ($1, $2, $3) RETURNING * $$;
    CREATE VIEW admin_stats AS SELECT count(*)::int AS users FROM users;
    CREATE VIEW user_stats AS SELECT id AS user_id, length(name) AS letters FROM users;
    CREATE TABLE products (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, category text, status text, sales_count int);
    INSERT INTO users (tenant_id, name) VALUES ('tenant-123', 'Alice'), ('tenant-456', 'Bob');
    INSERT INTO products (category, status, sales_count) VALUES ('books', 'published', 9), ('books', 'draft', 99);`);
});

afterAll(async () => {
  await closeNest();
  await Promise.all(opened.map((store) => store.close()));
  await database.drop();
});

beforeEach(async () => {
  postgresCache = new PostgresCache({ connection: databaseUrl, watch });
  opened.push(postgresCache);
  await postgresCache.initialize();
  cache = new ResultCache({ store: postgresCache, timeout: Infinity });
  await cache.invalidatePattern('*');
});

/** An application with these parts, closed at the end. */
const start = (parts: Parameters<typeof startNest>[1]): ReturnType<typeof startNest> =>
  startNest(database, { ...parts, options: { watch, tenancy: 'off', timeout: Infinity, ...parts.options } });

const POOL = Symbol('POOL');

/** An application with a cached repository on `pool`, its cache, and how often a find was answered from there. */
async function open() {
  const {
    app,
    drain,
    cache: service,
  } = await start({
    providers: [{ provide: POOL, useValue: pool }, CachedRepository.provider(POOL)],
    options: { watch: [...watch, { table: 'products', domain: 'product' }] },
  });
  const hits = async (): Promise<number> => (await service.getStats()).hits;
  return { repository: app.get(CachedRepository), service, drain, hits };
}

describe('Quick Start', () => {
  it('Basic Setup', async () => {
    @Module({
      imports: [
        CacheModule.forRoot({
          connection: pool, // makes its UNLOGGED table and triggers at start
          tenancy: { mode: 'required', resolver: fromHeader('x-tenant-id') },
          watch: [{ table: 'users', domain: 'user', tenantColumn: 'tenant_id' }],
          defaultTtl: 300,
          timeout: Infinity, // milliseconds a read waits for the cache; default 250
        }),
      ],
      providers: [{ provide: POOL, useValue: pool }, CachedRepository.provider(POOL)],
    })
    class AppModule {}
    const app = await NestFactory.create(AppModule, { logger: false });
    await app.init();
    const repository = app.get(CachedRepository);
    const active = () => repository.find<{ name: string }>('v_user', { status: 'active' });
    const ofTenant = () => app.get(TenantContext).run('tenant-123', active); // in a request: by its header

    expect((await ofTenant()).map(({ name }) => name)).toEqual(['Alice']); // and no user of another tenant
    await app.get(CacheService).engine.drain(); // until it is stored
    await ofTenant();
    expect(await app.get(CacheService).getStats()).toMatchObject({ hits: 1, misses: 1 });
    await app.close();
  });

  it('FastAPI Integration', async () => {
    @Module({
      providers: [{ provide: POOL, useValue: pool }, CachedRepository.provider(POOL)],
      exports: [CachedRepository],
    })
    class DatabaseModule {}

    @Resolver()
    class UsersResolver {
      @Query(() => [String])
      async users(@Context('db') db: CachedRepository) {
        const users = await db.find<{ name: string }>('v_user', { status: 'active' });
        return users.map(({ name }) => name);
      }
    }
    const { app } = await start({
      imports: [
        GraphQLModule.forRootAsync<ApolloDriverConfig>({
          driver: ApolloDriver,
          imports: [DatabaseModule],
          inject: [CachedRepository],
          // The tenant need not be handed on: the repository takes it from the request.
          useFactory: (db: CachedRepository) => ({
            autoSchemaFile: true,
            graphiql: false,
            context: ({ req }: { req: object }) => ({ req, db }),
          }),
        }),
      ],
      providers: [UsersResolver],
      options: { tenancy: { mode: 'required', resolver: fromHeader('x-tenant-id') } },
    });
    const ask = (tenant: string) =>
      request(app.getHttpServer()).post('/graphql').set('x-tenant-id', tenant).send({ query: '{ users }' });

    expect((await ask('tenant-123')).body).toEqual({ data: { users: ['Alice'] } });
    expect((await ask('tenant-456')).body).toEqual({ data: { users: ['Bob'] } });
  });
});

describe('PostgreSQL Cache Backend', () => {
  it('UNLOGGED Tables', async () => {
    const store = new PostgresCache({ connection: databaseUrl });
    await store.initialize();

    const { rows } = await pool.query(
      `SELECT relpersistence, relkind FROM pg_class WHERE oid = 'fraiseql_cache.fraiseql_cache'::regclass`,
    );
    expect(rows).toEqual([{ relpersistence: 'u', relkind: 'r' }]); // unlogged, an ordinary table
    await store.close();
  });

  it('Extension Detection', async () => {
    await postgresCache.initialize();
    // Domains are tracked either way: without the extension the same objects are installed as plain SQL.
    expect(postgresCache.hasDomainVersioning).toBe(true);

    const { rows } = await pool.query(`SELECT extversion FROM pg_extension WHERE extname = 'pg_fraiseql_cache'`);
    expect(postgresCache.extensionVersion).toBe(rows[0]?.extversion ?? null);
  });
});

describe('Configuration', () => {
  it('PostgresCache Options', async () => {
    const store = new PostgresCache({
      connection: databaseUrl,
      tableName: 'my_cache', // default: fraiseql_cache
      autoInitialize: true, // default; false verifies, and prints the statements to run
    });
    await store.initialize();
    const { rows } = await pool.query(`SELECT to_regclass('fraiseql_cache.my_cache') IS NOT NULL AS exists`);
    expect(rows).toEqual([{ exists: true }]);
    await store.close();
  });

  it('ResultCache Options', async () => {
    const resultCache = new ResultCache({
      store: postgresCache,
      defaultTtl: 300, // seconds
      enableStats: true,
    });
    await resultCache.getOrSet('answer', async () => 42, { domains: ['user'] });
    expect((await resultCache.getStats()).misses).toBe(1);
  });

  it('CachedRepository Options', async () => {
    const { repository, drain, hits } = await open();
    const active = () => repository.find('v_user', { status: 'active' }, { cacheTtl: 600 }); // ten minutes for this query
    await active();
    await drain();
    await active();
    expect(await hits()).toBe(1);

    await repository.find('v_user', { status: 'active' }, { skipCache: true }); // computed, and nothing stored
    expect(await hits()).toBe(1);
  });

  it('Cache Cleanup', async () => {
    // Every five minutes by default, one process at a time; or at any moment by hand.
    const { app } = await start({ options: { purgeInterval: '5m' } });
    await app.get(CacheService).set('short', 'lived', { untracked: true, ttl: 1 });
    await pool.query(`UPDATE fraiseql_cache.fraiseql_cache SET expires_at = now() - interval '1 s'`);

    const { entries } = await app.get(CacheService).purge();
    expect(entries).toBe(1);
  });
});

describe('Multi-Tenant Security', () => {
  it('Tenant Isolation in Cache Keys', async () => {
    const tenantKey = keys.buildKey({
      queryName: 'users',
      tenantId: 'tenant-123',
      filters: { status: 'active' },
    });
    expect(tenantKey).toBe('fraiseql:tenant-123:users:status:active');

    // In an application the tenant is not an argument that can be forgotten. With tenancy 'required' and none known,
    // nothing is read and nothing stored.
    const { cache: service } = await start({
      options: { tenancy: { mode: 'required', resolver: fromHeader('x-tenant-id') } },
    });
    await expect(service.getOrSet('users', async () => [], { domains: ['user'] })).rejects.toThrow('tenant');
  });

  it('The Key of a View', async () => {
    const { app, drain } = await start({
      providers: [{ provide: POOL, useValue: pool }, CachedRepository.provider(POOL)],
      options: { tenancy: { mode: 'required', resolver: fromHeader('x-tenant-id') } },
    });
    const users = () => app.get(CachedRepository).find('v_user', { status: 'active' });
    await app.get(TenantContext).run('tenant-123', users);
    await drain();

    const { rows } = await pool.query('SELECT cache_key FROM fraiseql_cache.fraiseql_cache');
    expect(rows).toEqual([{ cache_key: 'fraiseql:tenant-123:users:status:active' }]);
    await expect(users()).rejects.toThrow('tenant'); // never a key that all tenants share
  });

  it('Cache Key Structure', () => {
    const filters = { status: 'active' };
    const ofA = keys.buildKey({ queryName: 'users', tenantId: 'tenant-a', filters, limit: 10 });
    const ofB = keys.buildKey({ queryName: 'users', tenantId: 'tenant-b', filters, limit: 10 });
    const shared = keys.buildKey({ queryName: 'users', filters, limit: 10 });

    expect(ofA).toBe('fraiseql:tenant-a:users:status:active:limit:10');
    expect(ofB).toBe('fraiseql:tenant-b:users:status:active:limit:10');
    expect(shared).toBe('fraiseql:users:status:active:limit:10');
  });

  it('Tenant Context Middleware', async () => {
    @Controller()
    class UsersController {
      constructor(private readonly tenants: TenantContext) {}
      @Get('tenant')
      async current() {
        const tenant = this.tenants.require();
        // For row-level security: until the end of the transaction, as SET LOCAL would, but with a parameter.
        const client = await pool.connect();
        try {
          await client.query('BEGIN');
          await this.tenants.applyTo(client);
          const { rows } = await client.query(`SELECT current_setting('app.current_tenant_id') AS setting`);
          return { tenant, ...rows[0] };
        } finally {
          await client.query('ROLLBACK');
          client.release();
        }
      }
    }
    const { app } = await start({
      controllers: [UsersController],
      options: { tenancy: { mode: 'required', resolver: fromHeader('x-tenant-id') } },
    });
    const http = request(app.getHttpServer());

    const answer = await http.get('/tenant').set('x-tenant-id', 'tenant-123');
    expect(answer.body).toEqual({ tenant: 'tenant-123', setting: 'tenant-123' });
    expect((await http.get('/tenant')).status).toBe(400); // Tenant not identified
  });
});

describe('Domain-Based Invalidation', () => {
  it('Overview', async () => {
    const findUsers = async () => (await pool.query('SELECT name FROM users ORDER BY id')).rows;
    const users = () => cache.getOrSet('all-users', findUsers, { domains: ['user'], ttl: 300 });
    await users();
    await cache.drain();

    await pool.query(`UPDATE users SET name = 'Alicia' WHERE name = 'Alice'`); // whoever does it, however

    expect(await users()).toContainEqual({ name: 'Alicia' }); // the triggers made the entry void
    await pool.query(`UPDATE users SET name = 'Alice' WHERE name = 'Alicia'`);
  });

  it('How It Works', async () => {
    const fence = await cache.fence();
    await cache.set('report', 'computed', { domains: ['user'], fence });
    const before = await cache.getWithMetadata('report');
    expect(before?.versions).toHaveProperty('user'); // what the entry depends on, and up to when it is current

    await pool.query(`INSERT INTO users (tenant_id, name) VALUES ('tenant-123', 'Carol')`);

    expect(await cache.get('report')).toBeUndefined(); // one write later it is void
  });

  it('Installation', async () => {
    // CREATE EXTENSION pg_fraiseql_cache; or nothing: PostgresCache installs the same objects where it may.
    const { rows } = await pool.query(`SELECT domain FROM fraiseql_cache.domain_version WHERE tenant_id = 'global'`);
    expect(rows).toContainEqual({ domain: 'user' });
  });

  it('Cache Value Metadata', async () => {
    const fence = await cache.fence();
    await cache.set('k', [{ id: 1 }], { domains: ['user'], fence });

    expect(await cache.get('k')).toEqual([{ id: 1 }]); // the value itself

    const { value, versions, cachedAt } = (await cache.getWithMetadata('k'))!;
    expect(value).toEqual([{ id: 1 }]);
    expect(Object.keys(versions)).toEqual(['user']);
    expect(cachedAt).toBeInstanceOf(Date);
  });

  it('Mutation Invalidation', async () => {
    const { repository, drain, hits } = await open();
    const users = () => repository.find<{ name: string }>('v_user', {}, { orderBy: [['id', 'ASC']] });
    const before = await users();
    await drain();

    // What the function writes makes void what depends on it, and so do the domains of its name: user and users.
    await repository.executeFunction('create_user', { tenant_id: 'tenant-9', name: 'Zoe', email: 'zoe@example.com' });

    expect((await users()).length).toBe(before.length + 1);
    expect(await hits()).toBe(0);
    await pool.query(`DELETE FROM users WHERE name = 'Zoe'`);
  });
});

describe('Usage Patterns', () => {
  it('Pattern 1: Repository-Level Caching', async () => {
    const { repository, drain, hits } = await open();
    const read = async () => {
      const users = await repository.find<{ name: string }>('v_user', { status: 'active', name__in: ['Alice', 'Bob'] });
      const user = await repository.findOne<{ name: string }>('v_user', { id: 1 });
      await drain();
      return [users.length, user?.name];
    };
    expect(await read()).toEqual([2, 'Alice']);
    expect(await read()).toEqual([2, 'Alice']);
    expect(await hits()).toBe(2);

    await pool.query(`UPDATE users SET status = 'away' WHERE name = 'Bob'`); // any writer, not the repository alone
    expect(await read()).toEqual([1, 'Alice']);
    await pool.query(`UPDATE users SET status = 'active' WHERE name = 'Bob'`);
  });

  it('Pattern 2: Explicit Cache Control', async () => {
    const tenantId = 'tenant-123';
    const key = keys.buildKey({ queryName: 'active_users', tenantId, filters: { status: 'active' }, limit: 10 });

    let users = await cache.get<{ name: string }[]>(key);
    if (users === undefined) {
      const fence = await cache.fence(); // before the value is computed: what is written meanwhile makes it void
      users = (await pool.query('SELECT name FROM v_user WHERE tenant_id = $1 LIMIT 10', [tenantId])).rows;
      await cache.set(key, users, { domains: ['user'], ttl: 300, fence });
    }

    expect(await cache.get(key)).toEqual(users);
  });

  it('Pattern 3: Decorator-Based Caching', async () => {
    @Injectable()
    class Products {
      computed = 0;
      @CacheResult({ ttl: 600, keyPrefix: 'top_products', domains: ['product'] })
      async topProducts(category: string, limit = 10) {
        this.computed++;
        const sql = `SELECT sales_count FROM products WHERE category = $1 AND status = 'published'
                      ORDER BY sales_count DESC LIMIT $2`;
        return (await pool.query(sql, [category, limit])).rows;
      }
    }
    const { app, drain } = await start({
      providers: [Products],
      options: { watch: [{ table: 'products', domain: 'product' }] },
    });
    const products = app.get(Products);

    expect(await products.topProducts('books')).toEqual([{ sales_count: 9 }]);
    await drain();
    await products.topProducts('books');
    expect(products.computed).toBe(1);
  });

  it('Pattern 4: Conditional Caching', async () => {
    const { repository, drain, hits } = await open();
    async function smartFind(view: string, filters: Record<string, unknown>, orderBy?: [string, 'ASC' | 'DESC'][]) {
      const isLookup = Object.keys(filters).join() === 'id'; // PostgreSQL is as fast as the cache there
      const isComplex = Object.keys(filters).length > 2 || orderBy !== undefined;
      return repository.find(view, filters, { orderBy, cacheTtl: 300, skipCache: isLookup || !isComplex });
    }
    for (let round = 0; round < 2; round++) {
      await smartFind('v_user', { id: 1 });
      await smartFind('v_user', { status: 'active' });
      await smartFind('v_user', { status: 'active' }, [['name', 'DESC']]);
      await drain();
    }
    expect(await hits()).toBe(1); // the sorted one
  });
});

describe('Cache Key Strategy', () => {
  it('Key Components', () => {
    const key = keys.buildKey({
      queryName: 'users',
      tenantId: 'tenant-123',
      filters: { status: 'active', role: 'admin' },
      orderBy: [['created_at', 'DESC']],
      limit: 10,
      offset: 0,
    });
    expect(key).toBe('fraiseql:tenant-123:users:role:admin:status:active:order:created_at:DESC:limit:10:offset:0');
  });

  it('Key Normalization', () => {
    const one = keys.buildKey({ queryName: 'users', tenantId: 't1', filters: { status: 'active', role: 'admin' } });
    const two = keys.buildKey({ queryName: 'users', tenantId: 't1', filters: { role: 'admin', status: 'active' } });
    expect(one).toBe(two); // filters are sorted by name
  });

  it('Filter Serialization', () => {
    const filterOf = (filters: Record<string, unknown>) =>
      keys.buildKey({ queryName: 'users', filters }).replace('fraiseql:users:', '');

    expect(filterOf({ user_id: '00000000-0000-0000-0000-000000000000' })).toBe(
      'user_id:00000000-0000-0000-0000-000000000000',
    );
    expect(filterOf({ created_after: new Date('2025-01-01T00:00:00Z') })).toBe(
      'created_after:2025-01-01T00:00:00.000Z',
    );
    expect(filterOf({ status__in: ['pending', 'active'] })).toBe('status__in:active,pending'); // sorted
    expect(filterOf({ ids: Array.from({ length: 50 }, (_, index) => `user ${index}`) })).toMatch(/~.{22}$/); // hashed
    expect(filterOf({ is_active: true })).toBe('is_active:true');
    expect(filterOf({ deleted_at: null })).toBe('deleted_at:null');
    expect(filterOf({ deleted_at: 'null' })).toBe("deleted_at:'null"); // not the same as null
  });

  it('Pattern-Based Invalidation', async () => {
    for (const tenantId of ['tenant-a', 'tenant-b'])
      await cache.set(keys.buildKey({ queryName: 'user', tenantId, filters: { id: 1 } }), tenantId);

    // One tenant's keys; those of all tenants have to be asked for.
    const deleted = await cache.invalidatePattern(keys.buildMutationPattern('user', { tenantId: 'tenant-a' }));
    expect(deleted).toBe(1);
    expect(await cache.invalidatePattern(keys.buildMutationPattern('user', { allTenants: true }))).toBe(1);
  });
});

describe('Monitoring & Metrics', () => {
  it('Cache Statistics', async () => {
    await cache.getOrSet('a', async () => 1, { domains: ['user'] });
    await cache.drain();
    await cache.getOrSet('a', async () => 1, { domains: ['user'] });

    const stats = await cache.getStats();
    expect(stats).toMatchObject({ hits: 1, misses: 1, hitRate: 0.5, totalEntries: 1, expiredEntries: 0 });
    expect(stats.tableSizeBytes).toBeGreaterThan(0);
  });

  it('PostgreSQL Monitoring', async () => {
    await cache.set(keys.buildKey({ queryName: 'users', tenantId: 'tenant-a' }), []);
    const { rows: sizes } = await pool.query(`
      SELECT pg_size_pretty(pg_total_relation_size('fraiseql_cache.fraiseql_cache')) AS total_size,
             pg_size_pretty(pg_indexes_size('fraiseql_cache.fraiseql_cache')) AS index_size`);
    const { rows: counts } = await pool.query(`
      SELECT count(*)::int AS total_entries,
             count(*) FILTER (WHERE expires_at > now())::int AS active_entries,
             count(*) FILTER (WHERE expires_at <= now())::int AS expired_entries
        FROM fraiseql_cache.fraiseql_cache`);
    const { rows: prefixes } = await pool.query(`
      SELECT left(cache_key, 50) AS key_prefix, count(*)::int AS count
        FROM fraiseql_cache.fraiseql_cache GROUP BY 1 ORDER BY 2 DESC LIMIT 20`);
    const { rows: churn } = await pool.query(`
      SELECT date_trunc('hour', expires_at) AS hour, count(*)::int AS entries_expiring
        FROM fraiseql_cache.fraiseql_cache WHERE expires_at > now() GROUP BY hour ORDER BY hour`);

    expect(Object.keys(sizes[0])).toEqual(['total_size', 'index_size']);
    expect(counts).toEqual([{ total_entries: 1, active_entries: 1, expired_entries: 0 }]);
    expect(prefixes).toEqual([{ key_prefix: 'fraiseql:tenant-a:users:all', count: 1 }]);
    expect(churn).toHaveLength(1);
  });

  it('Prometheus Metrics', async () => {
    const registry = new Registry();
    const metrics = new PrometheusCacheMetrics({ registry, caches: [cache] });
    metrics.subscribe();
    await cache.getOrSet('a', async () => 1, { domains: ['user'], view: 'users' });

    const text = await registry.metrics();
    for (const name of ['misses_total', 'get_duration_seconds_bucket', 'entries_total'])
      expect(text).toContain(`fraiseql_cache_${name}`);
    metrics.unsubscribe();
  });

  it('Logging', async () => {
    const lines: string[] = [];
    const log = (line: unknown) => void lines.push(String(line));
    const logger: LoggerService = { log, warn: log, error: log };
    const module = await Test.createTestingModule({
      imports: [CacheModule.forRoot({ connection: databaseUrl, tenancy: 'off', watch, purgeInterval: false })],
    })
      .setLogger(logger)
      .compile();
    const app = await module.init();
    await pool.query(`DELETE FROM fraiseql_cache.fraiseql_cache`);
    await app.get(CacheService).set('short', 'lived');
    await pool.query(`UPDATE fraiseql_cache.fraiseql_cache SET expires_at = now() - interval '1 s'`);
    await app.get(CacheLifecycle).purge();

    expect(lines).toContain("PostgreSQL cache table 'fraiseql_cache.fraiseql_cache' initialized");
    expect(lines).toContain('Cleaned 1 expired cache entries');
    await app.close();
    Logger.overrideLogger(false);
  });
});

describe('Best Practices', () => {
  it('1. Always Set tenant_id', async () => {
    const { cache: service, app } = await start({
      options: { tenancy: { mode: 'required', resolver: fromHeader('x-tenant-id') } },
    });
    // In a job there is no request: say whose work it is.
    const found = await app
      .get(TenantContext)
      .run('tenant-123', () => service.getOrSet('jobs', async () => 'of 123', { untracked: true }));
    expect(found).toBe('of 123');
    await expect(service.getOrSet('jobs', async () => 'of nobody', { untracked: true })).rejects.toThrow('tenant');
  });

  it('2. Choose Appropriate TTLs', async () => {
    const find = async () => [];
    await cache.getOrSet('recent-orders', find, { domains: ['user'], ttl: 60 }); // a minute
    await cache.getOrSet('categories', find, { domains: ['user'], ttl: '1h' });
    await cache.getOrSet('countries', find, { domains: ['user'], ttl: 86_400 }); // a day, the longest by default
    await cache.drain();

    const { expiresAt, cachedAt } = (await cache.getWithMetadata('categories'))!;
    expect(expiresAt.getTime() - cachedAt.getTime()).toBe(3_600_000);
  });

  it('3. Use skip_cache for Real-Time Data', async () => {
    const { repository, drain, hits } = await open();
    const read = async () => {
      await repository.find('admin_stats', {}, { skipCache: true }); // never from the cache
      await repository.find('user_stats', { user_id: 1 }, { cacheTtl: 300 });
      await drain();
    };
    await read();
    await read();
    expect(await hits()).toBe(1);
  });

  it('4. Invalidate on Mutations', async () => {
    const { repository, service, drain, hits } = await open();
    const products = () => repository.find('products', { category: 'books' });
    await products();
    await drain();
    // Whoever writes, the triggers do it; repository.executeFunction too. By hand for what no trigger sees:
    await service.invalidateDomains('product');
    await products();
    expect(await hits()).toBe(0);

    await service.set('product:list', 'of the supplier', { untracked: true });
    expect(await service.invalidatePattern('product:*')).toBe(1); // keys of your own
  });

  it('5. Monitor Cache Health', async () => {
    const { app } = await start({
      imports: [
        CacheHealthModule.forRoot({ maxExpiredEntries: 10_000, maxTableSizeBytes: 1_000_000_000, minHitRate: 0.5 }),
      ],
    });
    const result = await app.get(CacheHealthIndicator).isHealthy('cache');
    expect(result['cache']?.status).toBe('up');
  });

  it('6. Vacuum UNLOGGED Tables', async () => {
    await postgresCache.vacuum(); // VACUUM (ANALYZE) of the cache table and the log
    const { rows } = await pool.query(
      `SELECT last_vacuum IS NOT NULL AS done FROM pg_stat_user_tables WHERE relname = 'fraiseql_cache'`,
    );
    expect(rows).toEqual([{ done: true }]);
  });

  it('7. Partition Large Caches', async () => {
    const store = new PostgresCache({ connection: databaseUrl, tableName: 'large_cache', partitions: 4 });
    await store.initialize();
    const { rows } = await pool.query(`
      SELECT c.relname, c.relpersistence FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
       WHERE i.inhparent = 'fraiseql_cache.large_cache'::regclass ORDER BY 1`);
    expect(rows).toEqual(
      [0, 1, 2, 3].map((part) => ({ relname: `large_cache_${part}`, relpersistence: 'u' })), // each of them unlogged
    );
    await store.close();
  });
});

describe('Troubleshooting', () => {
  it('Low Cache Hit Rate', async () => {
    await cache.getOrSet('a', async () => 1, { domains: ['user'], view: 'Users.list' });

    const { hitRate, totalEntries, views } = await cache.getStats();
    expect(hitRate).toBeLessThan(0.7);
    expect(totalEntries).toBeLessThan(100_000); // more would mean that few keys are asked for twice
    expect(views['Users.list']).toMatchObject({ hits: 0, misses: 1 }); // where the misses come from
  });

  it('Stale Data', async () => {
    // A domain whose triggers are missing is not cached at all, so that nothing grows stale in silence.
    expect(await cache.domainProblem('user')).toBeNull();
    await pool.query('ALTER TABLE users DISABLE TRIGGER fraiseql_cache_update');
    await cache.purge(); // looks again, as every scheduled purge does
    expect(await cache.domainProblem('user')).toContain('fraiseql_cache_update');
    await pool.query('ALTER TABLE users ENABLE ALWAYS TRIGGER fraiseql_cache_update');
    await cache.purge();
    expect(await cache.domainProblem('user')).toBeNull();
  });

  it('High Memory Usage', async () => {
    const small = new ResultCache({ store: postgresCache, maxValueBytes: 100_000 }); // the default
    await small.getOrSet('report', async () => 'x'.repeat(200_000), { domains: ['user'] });
    await small.drain();

    expect(await small.exists('report')).toBe(false); // returned, counted, not stored
    expect((await small.getStats()).unstorable).toBe(1);
  });

  it('Connection Pool Exhaustion', async () => {
    const store = new PostgresCache({ connection: databaseUrl, poolSize: 2 }); // its own pool; default 4
    const own = new ResultCache({ store, timeout: Infinity });
    const values = await Promise.all(
      Array.from({ length: 100 }, (_, index) => own.getOrSet(`k${index}`, async () => index, { untracked: true })),
    );
    expect(values).toHaveLength(100); // no connection is held while a value is computed
    await own.drain();
    await store.close();
  });

  it('Cache Table Corruption', async () => {
    await cache.getOrSet('a', async () => 1, { untracked: true });
    await cache.drain();
    await pool.query('DROP TABLE fraiseql_cache.fraiseql_cache CASCADE'); // safe: it is just cache

    expect(await cache.getOrSet('a', async () => 2, { untracked: true })).toBe(2); // computed; the table is made anew
    await cache.drain();
    await cache.getOrSet('a', async () => 3, { untracked: true });
    await cache.drain();
    expect(await cache.get('a')).toBe(3);
  });

  it('Extension Not Detected', async () => {
    const { rows } = await pool.query(
      `SELECT count(*)::int AS installed FROM pg_extension WHERE extname = 'pg_fraiseql_cache'`,
    );
    expect(postgresCache.extensionVersion !== null).toBe(rows[0].installed === 1);
    // Without it nothing is lost: the same functions are there as plain SQL.
    expect(postgresCache.hasDomainVersioning).toBe(true);
  });
});
