/* eslint-disable @typescript-eslint/no-unused-vars -- arguments that only the key sees */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Injectable } from '@nestjs/common';
import {
  CacheModule,
  CacheQuery,
  CacheResult,
  createCachePreset,
  getCacheToken,
  invalidateCache,
  InvalidatesTags,
  TenantContext,
  transactions,
  type CacheService,
} from 'nestjs-result-cache';
import { createDatabase, type TestDatabase } from './support/database.js';
import { closeNest, startNest, type StartedNest } from './support/nest.js';
import { installSettled } from './support/settled.js';

class Base {
  calls = 0;

  @CacheResult({ tags: ['t'] })
  async inherited(_id: number): Promise<number> {
    return ++this.calls;
  }
}

@Injectable()
class Reads extends Base {
  locale = 'en';
  fails = false;

  @CacheResult({ tags: ['t'] })
  async plain(_id: number, _page = 1): Promise<number> {
    return ++this.calls;
  }

  @CacheResult({ tags: ['t'], varyBy: () => ({}) })
  override async inherited(id: number): Promise<number> {
    return (await super.inherited(id)) + 1_000;
  }

  @CacheResult({
    tags: ['t'],
    varyBy(this: Reads) {
      return { locale: this.locale };
    },
  })
  async varied(_id: number): Promise<number> {
    return ++this.calls;
  }

  @CacheResult({ tags: ['t'], tenant: 'shared', key: (user: { id: number }) => user.id })
  async shared(_user: { id: number; name: string }): Promise<number> {
    return ++this.calls;
  }

  @CacheResult({ tags: ['t'], cache: 'reports' })
  async report(_id: number): Promise<number> {
    return ++this.calls;
  }

  @InvalidatesTags('t', 'u')
  async writeAll(): Promise<void> {
    if (this.fails) throw new Error('half written');
  }

  @InvalidatesTags((id: number) => [`t-${id}`])
  async write(_id: number): Promise<void> {}

  @CacheResult({ tags: (id: number) => [`t-${id}`] })
  async tagged(_id: number): Promise<number> {
    return ++this.calls;
  }

  async uncached(_id: number): Promise<void> {}
}

let database: TestDatabase;
let nest: StartedNest;
let reads: Reads;
let cache: CacheService;

beforeAll(async () => {
  database = await createDatabase();
  await database.pool.query('CREATE TABLE items (id int PRIMARY KEY, tenant_id text, name text)');
  await installSettled(database);
});
beforeEach(async () => {
  nest = await start();
  ({ cache } = nest);
  reads = nest.app.get(Reads);
});
afterEach(async () => {
  await closeNest();
  await database.pool.query('DELETE FROM fraiseql_cache.fraiseql_cache');
});
afterAll(() => database.drop());

const start = () => startNest(database, { providers: [Reads], imports: [CacheModule.forFeature({ name: 'reports' })] });

/** Whether a call is served from the cache after something happened. */
async function survives(call: () => Promise<unknown>, happens: () => Promise<unknown>): Promise<boolean> {
  await call();
  await nest.drain();
  await cachesDrained();
  const before = await call();
  await happens();
  return (await call()) === before;
}

const cachesDrained = () => nest.app.get<CacheService>(getCacheToken('reports')).engine.drain();

describe('invalidateMethod', () => {
  it('voids the value of these arguments only, whether defaults are spelled out or not', async () => {
    expect(
      await survives(
        () => reads.plain(1),
        () => cache.invalidateMethod(reads, 'plain', [2]),
      ),
    ).toBe(true);
    expect(
      await survives(
        () => reads.plain(1),
        () => cache.invalidateMethod(reads, 'plain', [1]),
      ),
    ).toBe(false);
    expect(
      await survives(
        () => reads.plain(1, 2),
        () => cache.invalidateMethod(reads, 'plain', [1]),
      ),
    ).toBe(true);
  });

  it('reaches other processes', async () => {
    const other = await start();
    const elsewhere = other.app.get(Reads);
    expect(
      await survives(
        () => elsewhere.plain(1),
        () => cache.invalidateMethod(reads, 'plain', [1]),
      ),
    ).toBe(false);
  });

  it('is the current tenant’s, or the one that is named', async () => {
    const tenants = nest.app.get(TenantContext);
    const asAcme = () => tenants.run('acme', () => reads.plain(1));
    expect(await survives(asAcme, () => cache.invalidateMethod(reads, 'plain', [1]))).toBe(true);
    expect(await survives(asAcme, () => tenants.run('globex', () => cache.invalidateMethod(reads, 'plain', [1])))).toBe(
      true,
    );
    expect(await survives(asAcme, () => tenants.run('acme', () => cache.invalidateMethod(reads, 'plain', [1])))).toBe(
      false,
    );
    expect(await survives(asAcme, () => cache.invalidateMethod(reads, 'plain', [1], { tenant: { id: 'acme' } }))).toBe(
      false,
    );
  });

  it('is nobody’s where the method says so, with the method’s own key', async () => {
    const call = () => reads.shared({ id: 1, name: 'a' });
    const other = { id: 1, name: 'b' };
    expect(await survives(call, () => cache.invalidateMethod(reads, 'shared', [other]))).toBe(false);
  });

  it('takes what an object adds to the key from the object, and refuses a class in its place', async () => {
    const call = () => reads.varied(1);
    expect(await survives(call, () => cache.invalidateMethod(reads, 'varied', [1]))).toBe(false);
    await expect(cache.invalidateMethod(Reads, 'varied', [1])).rejects.toThrow(
      /^Reads\.varied makes its key of its object \(this\).*pass the object instead/,
    );
    expect(
      await survives(
        () => reads.plain(1),
        () => cache.invalidateMethod(Reads, 'plain', [1]),
      ),
    ).toBe(false);
  });

  it('voids with a method those that it overrides and calls', async () => {
    const call = () => reads.inherited(1);
    expect(await survives(call, () => cache.invalidateMethod(reads, 'inherited', [1]))).toBe(false);
  });

  it('names the cache it must be called on, and invalidateCache finds it', async () => {
    const call = () => reads.report(1);
    await expect(cache.invalidateMethod(reads, 'report', [1])).rejects.toThrow(
      /Reads\.report is kept in the cache 'reports', not in 'default'; .*@InjectCache\('reports'\)/,
    );
    expect(await survives(call, () => invalidateCache(reads, 'report', [1]))).toBe(false);
    await expect(cache.invalidateMethod(reads, 'uncached', [1])).rejects.toThrow(/^Reads\.uncached is not cached/);
    await expect(invalidateCache(new Reads(), 'plain', [1])).resolves.toBeUndefined();
  });

  it.each(['COMMIT', 'ROLLBACK'])('in a transaction takes effect with the commit: %s', async (end) => {
    const client = await database.pool.connect();
    const held: boolean[] = [];
    const survived = await survives(
      () => reads.plain(1),
      async () => {
        await client.query('BEGIN');
        await cache.invalidateMethod(reads, 'plain', [1], { within: client });
        held.push(
          await survives(
            () => reads.plain(1),
            async () => undefined,
          ),
        );
        await client.query(end);
      },
    );
    client.release();
    expect([held, survived]).toEqual([[true], end === 'ROLLBACK']);
  });

  it('takes part in a transaction that is carried in the context', async () => {
    const client = await database.pool.connect();
    await client.query('BEGIN');
    const inTransaction = async (work: () => Promise<unknown>) => {
      const stop = transactions.watch(() => ({ queryable: client }));
      await work().finally(stop);
    };
    const call = () => reads.plain(1);
    expect(await survives(call, () => inTransaction(() => cache.invalidateMethod(reads, 'plain', [1])))).toBe(true);
    expect(await survives(call, () => inTransaction(() => cache.invalidateByTags(['t'])))).toBe(true);
    const before = await call();
    await client.query('COMMIT');
    client.release();
    expect(await call()).not.toBe(before);
  });
});

describe('@InvalidatesTags', () => {
  it('voids what carries one of its tags, also if the method throws', async () => {
    expect(
      await survives(
        () => reads.plain(1),
        () => reads.writeAll(),
      ),
    ).toBe(false);
    reads.fails = true;
    expect(
      await survives(
        () => reads.plain(1),
        () => reads.writeAll().catch(() => undefined),
      ),
    ).toBe(false);
  });

  it('takes tags from the arguments', async () => {
    expect(
      await survives(
        () => reads.tagged(1),
        () => reads.write(2),
      ),
    ).toBe(true);
    expect(
      await survives(
        () => reads.tagged(1),
        () => reads.write(1),
      ),
    ).toBe(false);
  });
});

describe('mistakes are found at decoration', () => {
  const decorate = (decorator: unknown) => () => {
    class Wrong {
      async method(): Promise<void> {}
    }
    const descriptor = Object.getOwnPropertyDescriptor(Wrong.prototype, 'method')!;
    (decorator as MethodDecorator)(Wrong.prototype, 'method', descriptor);
  };

  it.each<[string, () => void, RegExp]>([
    ['tags that are none', decorate(InvalidatesTags('')), /@InvalidatesTags on Wrong\.method: tags holds ""/],
    ['no tags', decorate(InvalidatesTags({} as never)), /@InvalidatesTags on Wrong\.method needs tags/],
    ['no brackets', decorate(InvalidatesTags), /@InvalidatesTags in Wrong lacks its tags/],
    ['a function and a tag', decorate(InvalidatesTags(() => [], 'a')), /needs tags, or one function/],
    ['no dependency', decorate(CacheQuery({ ttl: 5 })), /@CacheQuery on Wrong\.method does not say what/],
    ['a TTL without a name', decorate(CacheQuery({ ttl: {} as never, tags: ['a'] })), /is written \{ named: 'user_pro/],
    [
      'a preset’s option',
      () => createCachePreset({ tag: ['a'] } as never),
      /createCachePreset: there is no option 'tag'/,
    ],
    [
      'a preset’s decorator',
      () => createCachePreset({ tags: ['a'] }, 'x' as never),
      /second argument is the decorator/,
    ],
    [
      'a preset without brackets',
      decorate(createCachePreset({ tags: ['a'] })),
      /@CacheQuery in Wrong lacks its options/,
    ],
    [
      'a preset that says nothing, on a method that does not either',
      decorate(createCachePreset({ ttl: 5 })()),
      /@CacheQuery on Wrong\.method does not say what its value depends on/,
    ],
  ])('%s', (_, decorating, message) => {
    expect(decorating).toThrow(message);
  });

  it('a named TTL that is none is found when the module is made', () => {
    const options = { connection: 'postgres://x', tenancy: 'off' } as const;
    expect(() => CacheModule.forRoot({ ...options, ttls: { a: 'soon' } })).toThrow(/ttls\.a: "soon" is not a time/);
    expect(() => CacheModule.forRoot({ ...options, ttls: { a: '2d' } })).toThrow(/ttls\.a "2d" is longer than maxTtl/);
  });
});
