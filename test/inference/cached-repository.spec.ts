import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Injectable } from '@nestjs/common';
import {
  CacheConfigurationError,
  CachedRepository,
  CacheResult,
  MissingTenantError,
  TenantContext,
  type CacheModuleOptions,
} from 'nestjs-result-cache';
import { DataSource } from 'typeorm';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { closeNest, startNest, type StartedNest } from '../support/nest.js';
import { installSettled } from '../support/settled.js';

let database: TestDatabase;
let dataSource: DataSource;
let nest: StartedNest;
let repository: CachedRepository;
let tenants: TenantContext;

beforeAll(async () => {
  database = await createDatabase();
  await database.pool.query(`
    CREATE TABLE accounts (id int PRIMARY KEY, tenant_id text, name text, status text, seen timestamptz);
    CREATE TABLE posts (id int PRIMARY KEY, author int);
    CREATE VIEW v_user AS SELECT a.*, (SELECT count(*)::int FROM posts p WHERE p.author = a.id) AS posts FROM accounts a;
    CREATE VIEW v_name AS SELECT name FROM accounts;
    CREATE TABLE users (id int PRIMARY KEY);
    CREATE FUNCTION create_user(name text, id int) RETURNS int LANGUAGE plpgsql AS
      $$ BEGIN INSERT INTO accounts VALUES (create_user.id, 'a', create_user.name); RETURN create_user.id; END $$`);
  await installSettled(database);
  dataSource = await new DataSource({ type: 'postgres', url: database.url }).initialize();
});

afterAll(async () => {
  await dataSource.destroy();
  await database.drop();
});

@Injectable()
class Totals {
  computed = 0;

  @CacheResult({ domains: 'infer' })
  async total(): Promise<number> {
    this.computed++;
    const { rows } = await database.pool.query<{ n: number }>('SELECT sum(id)::int AS n FROM accounts');
    return rows[0]!.n;
  }
}

const start = async (options: Partial<CacheModuleOptions> = {}): Promise<void> => {
  nest = await startNest(database, {
    providers: [
      Totals,
      { provide: DataSource, useValue: dataSource },
      { provide: 'POOL', useValue: database.pool },
      CachedRepository.provider('POOL'),
    ],
    options: {
      watch: [
        { table: 'accounts', domain: 'account', tenantColumn: 'tenant_id' },
        { table: 'posts', domain: 'post' },
        { table: 'users', domain: 'user' },
      ],
      ...options,
    },
  });
  repository = nest.app.get(CachedRepository);
  tenants = nest.app.get(TenantContext);
};

beforeEach(async () => {
  await database.pool.query(`TRUNCATE accounts, posts, users; INSERT INTO users VALUES (99);
    INSERT INTO accounts VALUES (1, 'a', 'Ann', 'active', '2025-01-01'), (2, 'a', 'Bob', NULL, '2025-02-01'), (3, 'b', 'Cid', 'active', NULL)`);
  await start();
  await nest.drain();
});

afterEach(async () => {
  await closeNest();
  await database.pool.query('DELETE FROM fraiseql_cache.fraiseql_cache');
});

const hits = async (): Promise<number> => (await nest.cache.getStats()).hits;
const ids = async (filters: Record<string, unknown>, options = {}): Promise<unknown> => {
  const rows = await repository.find<{ id: number }>('v_user', filters, options);
  return rows.map(({ id }) => id).sort();
};

describe('a cached repository over views', () => {
  it('serves a view until any table behind it is written', async () => {
    const first = await repository.find('v_user', { status: 'active' }, { orderBy: [['id', 'ASC']], limit: 10 });
    expect(first).toMatchObject([{ id: 1, posts: 0 }, { id: 3 }]);
    await nest.drain();
    expect(await repository.find('v_user', { status: 'active' }, { orderBy: [['id', 'ASC']], limit: 10 })).toEqual(
      first,
    );
    expect(await hits()).toBe(1);
    await database.pool.query('INSERT INTO posts VALUES (1, 1)');
    expect(await repository.findOne('v_user', { id: 1 })).toMatchObject({ posts: 1 });
    expect(
      await repository.find('v_user', { status: 'active' }, { orderBy: [['id', 'ASC']], limit: 10 }),
    ).toMatchObject([{ posts: 1 }, { posts: 0 }]);
    expect(await hits()).toBe(1);
  });

  it('reads by the filters of the call, also if they change while it waits', async () => {
    const filters = { id: 1, name__in: ['Ann', 'Bob'] };
    const asked = repository.find('v_user', filters);
    filters.id = 2;
    expect(await asked).toMatchObject([{ id: 1 }]);
    await nest.drain();
    expect(await repository.find('v_user', { id: 1, name__in: ['Ann', 'Bob'] })).toMatchObject([{ id: 1 }]);
  });

  it('has readable keys, in which a table cannot pass for a view', async () => {
    await repository.find('v_user', { status: 'active' }, { limit: 5 });
    await repository.find('users', {}, { limit: 5 });
    expect(await repository.find('users', {}, { limit: 5 })).toEqual([{ id: 99 }]);
    await nest.drain();
    const { rows } = await database.pool.query<{ cache_key: string }>(
      'SELECT cache_key FROM fraiseql_cache.fraiseql_cache ORDER BY 1',
    );
    expect(rows.map((row) => row.cache_key)).toEqual([
      'fraiseql:users:__from:users:limit:5',
      'fraiseql:users:status:active:limit:5',
    ]);
  });

  it.each<[string, Record<string, unknown>, number[]]>([
    ['equality', { name: 'Ann' }, [1]],
    ['null', { status: null }, [2]],
    ['not null', { status__ne: null }, [1, 3]],
    ['a list', { id__in: [3, 1] }, [1, 3]],
    ['an empty list', { id__in: [] }, []],
    ['a list with null', { status__in: ['other', null] }, [2]],
    ['bounds', { id__gt: 1, id__lte: 3 }, [2, 3]],
    ['dates', { seen__gte: new Date('2025-01-15') }, [2]],
    ['a pattern', { name__like: 'A%' }, [1]],
    ['presence', { seen__isnull: true }, [3]],
    ['a value that tries to be SQL', { name: "x' OR true --" }, []],
  ])('filters by %s', async (_, filters, expected) => {
    expect(await ids(filters)).toEqual(expected);
    await nest.drain();
    expect(await ids(filters)).toEqual(expected);
    expect(await hits()).toBe(1);
  });

  it.each<[string, () => Promise<unknown>, string]>([
    ['an operator', () => repository.find('v_user', { id__near: 1 }), 'no known operator'],
    ['undefined', () => repository.find('v_user', { id: undefined }), 'leave it out'],
    [
      'a direction',
      () => repository.find('v_user', {}, { orderBy: [['id', 'DESC; DROP TABLE users' as 'DESC']] }),
      'no direction',
    ],
    ['a limit', () => repository.find('v_user', {}, { limit: 1.5 }), 'whole number'],
    ['an option', () => repository.find('v_user', {}, { cacheTTL: 5 } as never), 'cacheTtl'],
    ['a name', () => repository.find('v_user; x.y.z'), 'no name'],
  ])('refuses what cannot be right: %s', async (_, find, message) => {
    const error = await find().then(
      () => null,
      (reason: Error) => reason,
    );
    expect(error).toBeInstanceOf(CacheConfigurationError);
    expect(error!.message).toContain(message);
  });

  it('quotes names that try to be SQL', async () => {
    await expect(repository.find('v_user', { 'id" = 1 OR true --': 1 })).rejects.toThrow('does not exist');
  });

  it('reads past the cache on demand', async () => {
    await repository.find('v_user');
    await nest.drain();
    await repository.find('v_user', {}, { skipCache: true });
    expect(await hits()).toBe(0);
  });

  it.each(['pool', 'DataSource'])(
    'calls functions with named arguments, and what they write is seen at once (%s)',
    async (source) => {
      const own = source === 'pool' ? repository : new CachedRepository(dataSource, nest.cache, { name: 'typeorm' });
      const count = async (): Promise<number> => (await own.find('v_user')).length;
      expect(await count()).toBe(3);
      await nest.drain();
      let tagged = 0;
      const byTag = (): Promise<number> =>
        nest.cache.getOrSet('by domain', async () => ++tagged, { domains: ['user'] });
      expect(await byTag()).toBe(1);
      await nest.drain();
      expect(await own.executeFunction('create_user', { id: 7, name: 'Dan' })).toEqual([{ create_user: 7 }]);
      expect(await count()).toBe(4);
      expect(await byTag()).toBe(2);
      await expect(own.executeFunction('create_user', { id: 7, name: 'Dan' })).rejects.toThrow('duplicate key');
      expect(await count()).toBe(4);
    },
  );

  it('cannot have another source under the same name', () => {
    expect(() => new CachedRepository(dataSource, nest.cache)).toThrow(CacheConfigurationError);
  });
});

describe('within tenants', () => {
  beforeEach(async () => {
    await closeNest();
    await start({ tenancy: { mode: 'required', resolver: () => undefined } });
  });

  it('the rows of others are left out by SQL, whatever the filters say', async () => {
    expect(await tenants.run('a', () => ids({}))).toEqual([1, 2]);
    expect(await tenants.run('a', () => ids({ tenant_id: 'b' }))).toEqual([]);
    expect(await tenants.run('b', () => ids({}))).toEqual([3]);
    await nest.drain();
    expect(await tenants.run('b', () => ids({}))).toEqual([3]);
    expect(await hits()).toBe(1);
    await database.pool.query("INSERT INTO accounts VALUES (4, 'b')");
    expect(await tenants.run('b', () => ids({}))).toEqual([3, 4]);
  });

  it('a view without the column is cached for each tenant apart', async () => {
    for (const tenant of ['a', 'b']) await tenants.run(tenant, () => repository.find('v_name'));
    await nest.drain();
    expect(await hits()).toBe(0);
    const { rows } = await database.pool.query(
      "SELECT FROM fraiseql_cache.fraiseql_cache WHERE cache_key LIKE '%names%'",
    );
    expect(rows).toHaveLength(2);
  });

  it('no tenant means no answer', async () => {
    await expect(repository.find('v_user')).rejects.toThrow(MissingTenantError);
  });
});

describe("@CacheResult({ domains: 'infer' })", () => {
  it('caches a method by what its statements read', async () => {
    const totals = nest.app.get(Totals);
    for (const expected of [1, 1]) {
      expect(await totals.total()).toBe(6);
      await nest.drain();
      expect(totals.computed).toBe(expected);
    }
    await database.pool.query('UPDATE accounts SET id = 10 WHERE id = 1');
    expect(await totals.total()).toBe(15);
  });
});
