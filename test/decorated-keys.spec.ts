/* eslint-disable @typescript-eslint/no-unused-vars -- arguments that only the key sees */
import { describe, expect, it } from '@jest/globals';
import { Injectable } from '@nestjs/common';
import {
  CacheConfigurationError,
  CacheModule,
  CacheResult,
  CacheService,
  MissingTenantError,
  TenantContext,
} from 'nestjs-result-cache';
import { itemsWorld } from './support/items.js';
import { type NestParts, type StartedNest } from './support/nest.js';

const world = itemsWorld();
const { start, started } = world;
const domains = ['item'];

describe('inheritance', () => {
  abstract class Repository {
    abstract readonly table: string;

    @CacheResult({ domains })
    async all(page: number): Promise<string> {
      return `${this.table} ${page}`;
    }
  }

  @Injectable()
  class Users extends Repository {
    readonly table = 'users';
  }

  @Injectable()
  class Posts extends Repository {
    readonly table = 'posts';
  }

  it('two subclasses never share a key of their base class’s method', async () => {
    const nest = await start({ providers: [Users, Posts] });
    const [users, posts] = [nest.app.get(Users), nest.app.get(Posts)];
    expect(await users.all(1)).toBe('users 1');
    await nest.drain();
    expect(await posts.all(1)).toBe('posts 1');
    await nest.drain();
    expect([await users.all(1), await posts.all(1)]).toEqual(['users 1', 'posts 1']);
    expect(nest.cache.engine.counters()).toMatchObject({ hits: 2, misses: 2 });
  });

  it('an overridden method is another one than what it calls through super', async () => {
    @Injectable()
    class Loud extends Users {
      calls = 0;

      @CacheResult({ domains })
      override async all(page: number): Promise<string> {
        this.calls++;
        return `${(await super.all(page)).toUpperCase()}!`;
      }
    }
    const [loud, nest] = await started(Loud);
    expect(await loud.all(1)).toBe('USERS 1!');
    await nest.drain();
    expect(await loud.all(1)).toBe('USERS 1!');
    expect(loud.calls).toBe(1);
    // Both were stored, and neither in the other's place.
    const { rows } = await world.database.pool.query(
      'SELECT view_name, cache_value FROM fraiseql_cache.fraiseql_cache ORDER BY 1',
    );
    expect(rows).toEqual([
      { view_name: 'Loud.all', cache_value: 'USERS 1!' },
      { view_name: 'Loud.all of Repository', cache_value: 'users 1' },
    ]);
  });

  it('an override without the decorator is not cached, and what it calls through super is', async () => {
    @Injectable()
    class Plain extends Users {
      calls = 0;

      override async all(page: number): Promise<string> {
        return `${await super.all(page)} ${++this.calls}`;
      }
    }
    const [plain, nest] = await started(Plain);
    expect(await plain.all(1)).toBe('users 1 1');
    await nest.drain();
    expect(await plain.all(1)).toBe('users 1 2');
    expect(nest.cache.engine.counters()).toMatchObject({ hits: 1, misses: 1 });
  });

  it('methods of one class, and methods named by symbols, are apart', async () => {
    const secret = Symbol('all');
    const other = Symbol('other');
    @Injectable()
    class Many {
      @CacheResult({ domains })
      async all(): Promise<string> {
        return 'all';
      }

      @CacheResult({ domains })
      async one(): Promise<string> {
        return 'one';
      }

      @CacheResult({ domains })
      async [secret](): Promise<string> {
        return 'secret';
      }

      @CacheResult({ domains })
      async [other](): Promise<string> {
        return 'other';
      }
    }
    const [many, nest] = await started(Many);
    for (let round = 0; round < 2; round++) {
      expect([await many.all(), await many.one(), await many[secret](), await many[other]()]).toEqual([
        'all',
        'one',
        'secret',
        'other',
      ]);
      await nest.drain();
    }
    expect(nest.cache.engine.counters()).toMatchObject({ hits: 4, misses: 4 });
  });
});

describe('what is in a key', () => {
  @Injectable()
  class Keys {
    calls = 0;
    role = 'admin';

    private count(): number {
      return ++this.calls;
    }

    @CacheResult({ domains })
    async byArguments(_a?: unknown, _b?: unknown): Promise<number> {
      return this.count();
    }

    @CacheResult({ domains, key: (user: { id: number }) => user.id })
    async byKey(_user: { id: number; seen: Date }): Promise<number> {
      return this.count();
    }

    @CacheResult({ domains, key: () => () => 'x' })
    async badKey(): Promise<number> {
      return this.count();
    }

    @CacheResult({
      domains,
      varyBy(this: Keys) {
        return { role: this.role };
      },
    })
    async byRole(): Promise<number> {
      return this.count();
    }

    @CacheResult({ domains, when: (page: number) => page === 1 })
    async firstPage(_page: number): Promise<number> {
      return this.count();
    }

    @CacheResult({ domains, when: async (page: number) => page === 1 })
    async slowlyDecided(_page: number): Promise<number> {
      return this.count();
    }

    @CacheResult({ domains, tenant: 'shared' })
    async shared(): Promise<number> {
      return this.count();
    }

    @CacheResult({ domains, tenant: (user: { tenant: string }) => user.tenant, key: () => 0 })
    async ofUser(_user: { tenant?: unknown }): Promise<number> {
      return this.count();
    }

    @CacheResult({ rows: (id: number) => [['item', { id }]] })
    async row(_id: number): Promise<number> {
      return this.count();
    }

    @CacheResult({ tags: (id: number) => [`tag-${id}`] })
    async tagged(_id: number): Promise<number> {
      return this.count();
    }

    @CacheResult({ domains: ['post'] })
    async outer(page: number): Promise<number> {
      return this.firstPage(page);
    }

    @CacheResult({ domains, ttl: 0 })
    async never(): Promise<number> {
      return this.count();
    }
  }

  let keys: Keys;
  let nest: StartedNest;
  const begin = async (parts: NestParts = {}): Promise<void> => void ([keys, nest] = await started(Keys, parts));
  /** Whether the second call computes again. */
  const computes = async (first: () => Promise<unknown>, second = first): Promise<boolean> => {
    await first();
    await nest.drain();
    const { calls } = keys;
    await second();
    return keys.calls !== calls;
  };

  it.each<[same: boolean, first: unknown[], second: unknown[]]>([
    [true, [], [undefined]],
    [true, [1], [1, undefined]],
    [true, [{ a: 1, b: 2 }], [{ b: 2, a: 1 }]],
    [true, [{ a: 1 }], [Object.assign(Object.create(null) as object, { a: 1 })]],
    [true, [new Date(0)], [new Date(0)]],
    [false, [1], ['1']],
    [false, [null], ['null']],
    [false, [null], [undefined]],
    [false, [undefined, 1], [1]],
    [false, [['x', 'y']], ['x,y']],
    [false, ['a', 'b'], [['a', 'b']]],
    [false, [1n], [1]],
    [false, [new Date(0)], [new Date(0).toISOString()]],
    [false, [[1, 2]], [[2, 1]]],
    [false, [new Map([[1, 2]])], [new Map([[2, 1]])]],
    [false, ['\ud800'], ['\ud801']],
    [false, [{}], [{ a: undefined }]],
  ])('the same entry: %p for %p and %p', async (same, first, second) => {
    await begin();
    expect(
      await computes(
        () => keys.byArguments(...first),
        () => keys.byArguments(...second),
      ),
    ).toBe(!same);
  });

  it('`key` takes the arguments’ place', async () => {
    await begin();
    const user = (id: number) => ({ id, seen: new Date() });
    expect(await computes(() => keys.byKey(user(1)))).toBe(false);
    expect(await computes(() => keys.byKey(user(2)))).toBe(false);
    expect(
      await computes(
        () => keys.byKey(user(3)),
        () => keys.byKey(user(4)),
      ),
    ).toBe(true);
    await expect(keys.badKey()).rejects.toThrow(/Keys\.badKey: what `key` returned is a function, .* Return a string/);
  });

  it('`varyBy` adds to it', async () => {
    await begin();
    expect(await computes(() => keys.byRole())).toBe(false);
    keys.role = 'guest';
    expect(await computes(() => keys.byRole())).toBe(false);
    expect(keys.calls).toBe(2);
  });

  it.each(['firstPage', 'slowlyDecided'] as const)('`when` decides whether at all: %s', async (method) => {
    await begin();
    expect(await computes(() => keys[method](1))).toBe(false);
    expect(await computes(() => keys[method](2))).toBe(true);
    expect(nest.cache.engine.counters()).toMatchObject({ bypassed: 2 });
  });

  it('what `when` kept out of the cache still counts for a value made of it', async () => {
    await world.database.pool.query('CREATE TABLE IF NOT EXISTS posts (id int PRIMARY KEY)');
    await begin({
      options: {
        watch: [
          { table: 'items', domain: 'item' },
          { table: 'posts', domain: 'post' },
        ],
      },
    });
    expect(await computes(() => keys.outer(2))).toBe(false);
    await world.database.pool.query(`INSERT INTO items VALUES ($1, 'a', 'b')`, [Math.floor(Math.random() * 1e9)]);
    const { calls } = keys;
    await keys.outer(2);
    expect(keys.calls).toBe(calls + 1);
  });

  it('a ttl of 0 stores nothing', async () => {
    await begin();
    expect(await computes(() => keys.never())).toBe(true);
  });

  it('`rows` and `tags` are made of the arguments', async () => {
    await begin();
    await world.database.pool.query(`INSERT INTO items VALUES (1, 'a', 'x'), (2, 'a', 'x') ON CONFLICT DO NOTHING`);
    const write = async (): Promise<unknown> => world.database.pool.query(`UPDATE items SET name = name WHERE id = 1`);
    expect(
      await computes(
        () => keys.row(1),
        async () => (await write(), keys.row(1)),
      ),
    ).toBe(true);
    expect(
      await computes(
        () => keys.row(2),
        async () => (await write(), keys.row(2)),
      ),
    ).toBe(false);
    const touch = async (): Promise<unknown> => nest.cache.invalidateTags('tag-1');
    expect(
      await computes(
        () => keys.tagged(1),
        async () => (await touch(), keys.tagged(1)),
      ),
    ).toBe(true);
    expect(
      await computes(
        () => keys.tagged(2),
        async () => (await touch(), keys.tagged(2)),
      ),
    ).toBe(false);
  });

  describe('the tenant', () => {
    const as = <T>(tenant: string, work: () => Promise<T>): Promise<T> => nest.app.get(TenantContext).run(tenant, work);

    it('is the current one, or none for all with "shared"', async () => {
      await begin({ options: { tenancy: 'required' } });
      expect(
        await computes(
          () => as('a', () => keys.byArguments()),
          () => as('b', () => keys.byArguments()),
        ),
      ).toBe(true);
      expect(
        await computes(
          () => as('a', () => keys.shared()),
          () => as('b', () => keys.shared()),
        ),
      ).toBe(false);
      expect(await computes(() => keys.shared())).toBe(false);
      const { calls } = keys;
      await expect(keys.byArguments()).rejects.toBeInstanceOf(MissingTenantError);
      expect(keys.calls).toBe(calls);
    });

    it('or what a function says, whoever is current', async () => {
      await begin({ options: { tenancy: 'required' } });
      const of = (tenant: unknown) => keys.ofUser({ tenant });
      expect(
        await computes(
          () => of('a'),
          () => of('b'),
        ),
      ).toBe(true);
      expect(
        await computes(
          () => of('a'),
          () => as('x', () => of('a')),
        ),
      ).toBe(false);
    });

    it.each(['required', 'optional', 'off'] as const)(
      'and a function that names none fails closed: %s',
      async (tenancy) => {
        await begin({ options: { tenancy } });
        for (const nobody of [undefined, null])
          await expect(keys.ofUser({ tenant: nobody })).rejects.toThrow(
            /^@CacheResult on Keys\.ofUser: tenant\(\) named no tenant; return its id/,
          );
        for (const wrong of ['', NaN, {}, ['a'], true, 'a\0', '\ud800'])
          await expect(keys.ofUser({ tenant: wrong })).rejects.toThrow(CacheConfigurationError);
        expect(keys.calls).toBe(0);
      },
    );
  });
});

describe('a named cache', () => {
  it('holds what its decorator says, apart from the default one', async () => {
    @Injectable()
    class Reports {
      calls = 0;

      @CacheResult({ domains, cache: 'reports' })
      async report(): Promise<number> {
        return ++this.calls;
      }
    }
    const [reports, nest] = await started(Reports, {
      imports: [CacheModule.forFeature({ name: 'reports', prefix: 'shop' })],
    });
    await reports.report();
    await nest.drain();
    await reports.report();
    expect(reports.calls).toBe(1);
    const { rows } = await world.database.pool.query<{ cache_key: string }>(
      'SELECT cache_key FROM fraiseql_cache.fraiseql_cache',
    );
    expect(rows.map(({ cache_key }) => cache_key)).toEqual([expect.stringMatching(/^shop:db_query:Reports\.report:/)]);
    expect(nest.app.get(CacheService).engine.counters()).toMatchObject({ hits: 0, misses: 0 });
  });
});

it('a value computed from arguments that the caller has changed meanwhile is its own alone', async () => {
  @Injectable()
  class Pages {
    @CacheResult({ domains })
    async page(query: { page: number }): Promise<string> {
      return `page ${query.page}`;
    }
  }
  const nest = await start({ providers: [Pages] });
  const pages = nest.app.get(Pages);
  const query = { page: 1 };
  const changed = pages.page(query);
  query.page = 2;
  const others = [pages.page({ page: 1 }), pages.page({ page: 1 })];
  await changed;
  expect(await Promise.all(others)).toEqual(['page 1', 'page 1']);
  await nest.drain();
  expect(await pages.page({ page: 1 })).toBe('page 1');
  expect(nest.warnings.join()).toContain('its arguments were changed after the call');
});
