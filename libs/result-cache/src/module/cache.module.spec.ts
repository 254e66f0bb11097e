import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import {
  Inject,
  Injectable,
  Module,
  type INestApplicationContext,
  type LoggerService,
  type ModuleMetadata,
} from '@nestjs/common';
import { Test } from '@nestjs/testing';
import pg from 'pg';
import { closeCaches } from '../../../../test/support/caches.js';
import { createDatabase, type TestDatabase } from '../../../../test/support/database.js';
import { installSettled } from '../../../../test/support/settled.js';
import { CacheConfigurationError } from '../core/errors.js';
import { ResultCache } from '../core/result-cache.js';
import { CacheKeyBuilder } from '../core/keys.js';
import { CacheResult } from '../decorators/index.js';
import { PostgresCache } from '../postgres/postgres-cache.js';
import { TenantContext } from '../tenancy/index.js';
import {
  CacheModule,
  CacheService,
  getCacheToken,
  InjectCache,
  type CacheModuleAsyncOptions,
  type CacheModuleOptions,
  type CacheOptionsFactory,
  type NamedCacheOptions,
} from './index.js';

let database: TestDatabase;
const apps: INestApplicationContext[] = [];
const silent: LoggerService = { log: () => undefined, warn: () => undefined, error: () => undefined };

beforeAll(async () => {
  database = await createDatabase();
  await installSettled(database);
  await closeCaches();
});
afterEach(async () => {
  await Promise.all(apps.splice(0).map((app) => app.close().catch(() => undefined)));
});
afterAll(() => database.drop());

async function start(parts: ModuleMetadata): Promise<INestApplicationContext> {
  const module = await Test.createTestingModule(parts).setLogger(silent).compile();
  apps.push(module);
  return module.init();
}

const rootOptions = (more: Partial<CacheModuleOptions> = {}): CacheModuleOptions => ({
  connection: database.url,
  tenancy: 'off',
  purgeInterval: false,
  ...more,
});
const root = (more?: Partial<CacheModuleOptions>) => CacheModule.forRoot(rootOptions(more));
const failure = async (parts: ModuleMetadata): Promise<Error> =>
  start(parts).then(
    () => new Error('it started'),
    (error: Error) => error,
  );

async function works(cache: CacheService): Promise<void> {
  expect(await cache.set('k', { at: new Date(0) })).toBe(true);
  expect(await cache.get('k')).toEqual({ at: new Date(0) });
}

describe('forRootAsync takes its options from', () => {
  @Injectable()
  class Config implements CacheOptionsFactory {
    url(): string {
      return database.url;
    }

    createCacheOptions(): CacheModuleOptions {
      return rootOptions({ prefix: 'by-class' });
    }
  }

  @Module({ providers: [Config], exports: [Config] })
  class ConfigModule {}

  it.each<[source: string, prefix: string, options: CacheModuleAsyncOptions]>([
    ['useFactory', 'fraiseql', { useFactory: () => rootOptions() }],
    ['an async useFactory', 'fraiseql', { useFactory: async () => Promise.resolve(rootOptions()) }],
    [
      'useFactory with inject and imports',
      'injected',
      {
        imports: [ConfigModule],
        inject: [Config],
        useFactory: (config: Config) => rootOptions({ connection: config.url(), prefix: 'injected' }),
      },
    ],
    ['useClass', 'by-class', { useClass: Config }],
    ['useExisting with imports', 'by-class', { imports: [ConfigModule], useExisting: Config }],
  ])('%s', async (_source, prefix, options) => {
    const app = await start({ imports: [CacheModule.forRootAsync(options)] });
    await works(app.get(CacheService));
    expect(app.get(CacheKeyBuilder).tenantPrefix()).toBe(`${prefix}:`);
  });

  it('a factory, whose wrong options fail when the application starts', async () => {
    const from = (options: unknown): Promise<Error> =>
      failure({ imports: [CacheModule.forRootAsync({ useFactory: () => options as CacheModuleOptions })] });
    expect(await from(undefined)).toBeInstanceOf(CacheConfigurationError);
    expect((await from(undefined)).message).toMatch(/needs options/);
    expect((await from({ ...rootOptions(), ttl: 1 })).message).toMatch(/there is no option 'ttl'/);
    expect((await from({ ...rootOptions(), isGlobal: false })).message).toMatch(/there is no option 'isGlobal'/);
    expect((await from({ connection: 'mysql://x', tenancy: 'off' })).message).toMatch(/is not a PostgreSQL URL/);
  });
});

describe('a connection can be', () => {
  it('a pool, which stays the application’s', async () => {
    const pool = new pg.Pool({ connectionString: database.url });
    const app = await start({ imports: [root({ connection: pool })] });
    await works(app.get(CacheService));
    await app.close();
    expect((await pool.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
    await pool.end();
  });

  it('a pool’s configuration', async () => {
    const app = await start({ imports: [root({ connection: { connectionString: database.url, max: 2 } })] });
    await works(app.get(CacheService));
  });

  it.each([[42], ['localhost:5432'], [true]])('but not %p', async (connection) => {
    const error = await failure({ imports: [root({ connection: connection as never })] });
    expect(error).toBeInstanceOf(CacheConfigurationError);
    expect(error.message).toMatch(/connection.*postgres:\/\//);
  });
});

describe('what can be injected', () => {
  it('everywhere, without importing the module again', async () => {
    @Injectable()
    class Service {
      constructor(
        @Inject(CacheService) readonly cache: CacheService,
        @InjectCache() readonly byToken: CacheService,
        @Inject(ResultCache) readonly engine: ResultCache,
        @Inject(CacheKeyBuilder) readonly keys: CacheKeyBuilder,
        @Inject(PostgresCache) readonly store: PostgresCache,
        @Inject(TenantContext) readonly tenants: TenantContext,
      ) {}
    }
    @Module({ providers: [Service] })
    class FeatureModule {}
    const app = await start({ imports: [root(), FeatureModule] });
    const { cache, byToken, engine, keys, store } = app.get(Service);
    expect(byToken).toBe(cache);
    expect(cache.engine).toBe(engine);
    expect(cache.keys).toBe(keys);
    expect(engine.store).toBe(store);
  });

  it('only where it is imported, with isGlobal: false', async () => {
    @Injectable()
    class Service {
      constructor(@Inject(CacheService) readonly cache: CacheService) {}

      calls = 0;

      @CacheResult({ untracked: true })
      async read(): Promise<number> {
        return ++this.calls;
      }
    }
    @Injectable()
    class Far {
      calls = 0;

      @CacheResult({ untracked: true })
      async read(): Promise<number> {
        return ++this.calls;
      }
    }
    const near = root({ isGlobal: false } as never);
    @Module({ imports: [near], providers: [Service] })
    class NearModule {}
    @Module({ providers: [Far] })
    class FarModule {}
    const app = await start({ imports: [NearModule, FarModule] });
    const [service, far] = [app.get(Service), app.get(Far)];
    for (const each of [service, far]) {
      await each.read();
      await service.cache.engine.drain();
      await each.read();
    }
    expect([service.calls, far.calls]).toEqual([1, 2]);
    @Module({ providers: [Service] })
    class BlindModule {}
    expect((await failure({ imports: [NearModule, BlindModule] })).message).toMatch(/CacheService/);
  });
});

describe('forFeature', () => {
  const named = (...options: NamedCacheOptions[]): ModuleMetadata => ({
    imports: [root(), ...options.map((each) => CacheModule.forFeature(each))],
  });

  it('gives caches of their own names, prefixes and defaults', async () => {
    const app = await start(named({ name: 'reports', defaultTtl: '1h' }, { name: 'sessions', tableName: 'sessions' }));
    const [reports, sessions] = ['reports', 'sessions'].map((name) => app.get<CacheService>(getCacheToken(name)));
    await works(reports!);
    await works(sessions!);
    await app.get(CacheService).delete('k');
    expect(await reports!.exists('k')).toBe(true);
    expect(await sessions!.exists('k')).toBe(true);
    expect([reports!.name, reports!.engine.defaultTtl, reports!.keys.tenantPrefix()]).toEqual([
      'reports',
      3600,
      'fraiseql.reports:',
    ]);
    expect(reports!.engine.store).toBe(app.get(PostgresCache));
    expect(sessions!.engine.store).not.toBe(app.get(PostgresCache));
    const { rows } = await database.pool.query('SELECT cache_key FROM fraiseql_cache.sessions');
    expect(rows).toEqual([{ cache_key: 'fraiseql.sessions:kv:k' }]);
  });

  it('gives one cache for one name, whatever order the options are written in', async () => {
    @Module({ imports: [CacheModule.forFeature({ name: 'reports', defaultTtl: 60, prefix: 'r' })] })
    class Left {}
    @Module({ imports: [CacheModule.forFeature({ prefix: 'r', defaultTtl: 60, name: 'reports', maxTtl: undefined })] })
    class Right {}
    await works((await start({ imports: [root(), Left, Right] })).get(getCacheToken('reports')));
  });

  it('inherits what it does not say, and gives way to a shorter limit', async () => {
    const app = await start({
      imports: [
        root({ tableName: 'short_lived', defaultTtl: 600, maxTtl: '1h', maxValueBytes: 10 }),
        CacheModule.forFeature({ name: 'short', maxTtl: 60 }),
        CacheModule.forFeature({ name: 'same' }),
      ],
    });
    const settings = ['short', 'same'].map((name) => {
      const { engine } = app.get<CacheService>(getCacheToken(name));
      return [engine.defaultTtl, engine.maxTtlMs];
    });
    expect(settings).toEqual([
      [60, 60_000],
      [600, 3_600_000],
    ]);
    const same = app.get<CacheService>(getCacheToken('same'));
    await expect(same.set('k', 'x'.repeat(20))).rejects.toThrow(/at most 10 bytes/);
  });

  it.each<[title: string, options: NamedCacheOptions[], message: RegExp]>([
    [
      'one name with different options',
      [
        { name: 'a', defaultTtl: 60 },
        { name: 'a', defaultTtl: 61 },
      ],
      /forFeature\('a'\) is imported twice with different options \(\{"defaultTtl":60\} and \{"defaultTtl":61\}\); make them equal, or choose another name/,
    ],
    [
      'two names with one prefix',
      [
        { name: 'a', prefix: 'p' },
        { name: 'b', prefix: 'p' },
      ],
      /the caches 'a' and 'b' have the same prefix, .* give one of them another prefix/,
    ],
    ['the module’s prefix', [{ name: 'a', prefix: 'fraiseql' }], /the caches 'default' and 'a' have the same prefix/],
    [
      'the module’s prefix in another table',
      [{ name: 'a', prefix: 'fraiseql', tableName: 'other' }],
      /the caches 'default' and 'a' have the same prefix/,
    ],
    [
      'one table with two lives, spelled in two ways',
      [
        { name: 'a', tableName: 'Spelled', maxTtl: 60 },
        { name: 'b', tableName: 'fraiseql_cache."spelled"', maxTtl: 120 },
      ],
      /forFeature\('b'\): its table .* has maxTtl 60 s/,
    ],
    [
      'one table with two lives',
      [
        { name: 'a', tableName: 'lives', maxTtl: 60 },
        { name: 'b', tableName: 'lives', maxTtl: 120 },
      ],
      /forFeature\('b'\): its table .* has maxTtl 60 s .* do not exceed or change them, or give another tableName/,
    ],
    [
      'one table with two partitionings',
      [
        { name: 'a', tableName: 'other' },
        { name: 'b', tableName: 'other', partitions: 2 },
      ],
      /0 partitions, as the cache that named it first says/,
    ],
    ['more than the module’s maxTtl', [{ name: 'a', maxTtl: '2d' }], /has maxTtl 86400 s .* as the module says/],
    ['partitions of the module’s table', [{ name: 'a', partitions: 4 }], /0 partitions, as the module says/],
    [
      'a default beyond its limit',
      [{ name: 'a', defaultTtl: '2h', maxTtl: '1h' }],
      /the cache 'a': defaultTtl "2h" is longer than maxTtl \(3600 s\); shorten it or raise maxTtl/,
    ],
    [
      'a default beyond the module’s limit',
      [{ name: 'a', defaultTtl: '2d' }],
      /the cache 'a': defaultTtl "2d" is longer than maxTtl \(86400 s\)/,
    ],
  ])('refuses %s', async (_title, options, message) => {
    const error = await failure(named(...options));
    expect(error).toBeInstanceOf(CacheConfigurationError);
    expect(error.message).toMatch(message);
    expect(error.message).not.toContain('\n');
  });

  it('needs a CacheModule it can reach, and says so', async () => {
    const message = /forFeature\('a'\) finds no CacheModule; import CacheModule\.forRoot\(\.\.\.\) in the application/;
    const feature = CacheModule.forFeature({ name: 'a' });
    expect((await failure({ imports: [feature] })).message).toMatch(message);
    expect((await failure({ imports: [root({ isGlobal: false } as never), feature] })).message).toMatch(message);
  });

  it('is no module by itself, and says what to write', async () => {
    const error = await failure({ imports: [CacheModule] });
    expect(error).toBeInstanceOf(CacheConfigurationError);
    expect(error.message).toMatch(/it was imported by itself.*write CacheModule\.forRoot\(\{ connection/);
  });
});

describe('two modules on one table', () => {
  it('must agree about it', async () => {
    await start({ imports: [root({ tableName: 'agreed', maxTtl: 60 })] });
    await start({ imports: [root({ tableName: 'agreed', maxTtl: '1m' })] });
    const error = await failure({ imports: [root({ tableName: 'agreed', maxTtl: 61 })] });
    expect(error).toBeInstanceOf(CacheConfigurationError);
    expect(error.message).toMatch(
      /two caches on the table "?fraiseql_cache"?\."?agreed"? have different settings .* give them the same, or one of them another tableName/,
    );
    await start({ imports: [root({ tableName: 'other_table', maxTtl: 61 })] });
  });
});
