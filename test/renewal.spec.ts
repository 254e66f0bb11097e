import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Controller, Get, Headers, HttpException, Injectable } from '@nestjs/common';
import { AsyncLocalStorage } from 'node:async_hooks';
import {
  CacheConfigurationError,
  CacheModule,
  CacheResult,
  type CacheService,
  collectOutcomes,
  getCacheToken,
  ResultCache,
  TenantContext,
  transactions,
  type EntryOptions,
  type Outcome,
  type ResultCacheOptions,
} from 'nestjs-result-cache';
import { Gate } from './checks/gated-store.js';
import { closeCaches, openToldCache, type TestCache } from './support/caches.js';
import { createDatabase, type TestDatabase } from './support/database.js';
import { closeNest, startNest } from './support/nest.js';
import { PassingTime } from './support/passing-time.js';
import { installSettled } from './support/settled.js';

const TTL = 100;
const watch = [{ table: 'items', domain: 'item', tenantColumn: 'tenant_id' }];

let database: TestDatabase;
let time: PassingTime;
let key: string;
let run = 0;

beforeAll(async () => {
  database = await createDatabase();
  await database.pool.query('CREATE TABLE items (id int PRIMARY KEY, tenant_id text)');
  await installSettled(database, { watch });
  time = new PassingTime(database);
});
beforeEach(() => void (key = `key ${++run}`));
afterEach(async () => {
  await closeNest();
  await closeCaches();
});
afterAll(() => database.drop());

const open = (options: Partial<ResultCacheOptions> = {}): Promise<TestCache> =>
  openToldCache(database, { watch }, { clock: time, ...options });

/** Counts its calls, and returns how many there were. */
function counter(): { (): Promise<number>; calls: number; gate?: Gate } {
  const compute = Object.assign(
    async () => {
      const call = ++compute.calls;
      await compute.gate?.pass();
      return call;
    },
    { calls: 0, gate: undefined as Gate | undefined },
  );
  return compute;
}

/** Milliseconds that a row lives, and how many more it is kept. */
async function lifeOf(row: string): Promise<{ ttl: number; stale: number | null } | undefined> {
  const { rows } = await database.pool.query<{ ttl: number; stale: number | null }>(
    `SELECT round(extract(epoch FROM expires_at - cached_at) * 1000)::int AS ttl, round(extract(epoch FROM stale_until - expires_at) * 1000)::int AS stale
       FROM fraiseql_cache.fraiseql_cache WHERE cache_key = $1`,
    [row],
  );
  return rows[0];
}

describe('eagerRefresh', () => {
  const options: EntryOptions = { domains: ['item'], ttl: TTL, eagerRefresh: 0.8 };

  it.each<[string, Partial<ResultCacheOptions>]>([
    ['from the table', { memory: false }],
    ['from memory, after asking', {}],
    ['from memory, without asking', { freshness: { maxStaleness: '1h' } }],
  ])('has a hit %s renew the value once, after its share of the TTL', async (_, cacheOptions) => {
    const { cache } = await open({ memory: { ttl: '1h' }, ...cacheOptions });
    const compute = counter();
    const read = (): Promise<number> => cache.getOrSet(key, compute, options);
    await read();
    await cache.drain();
    await time.pass(79);
    expect(await read()).toBe(1);
    await cache.drain();
    expect(compute.calls).toBe(1);

    await time.pass(2);
    compute.gate = new Gate();
    expect(await Promise.all([read(), read()])).toEqual([1, 1]);
    await compute.gate.reached;
    expect(compute.calls).toBe(2);
    compute.gate.release();
    await cache.drain();
    expect(await read()).toBe(2);
    expect((await lifeOf(key))!.ttl).toBe(TTL * 1_000);
    await time.pass(70);
    expect(await read()).toBe(2);
    await cache.drain();
    expect(compute.calls).toBe(2);
  });

  it('is not stored where something was touched meanwhile', async () => {
    const { cache } = await open();
    const compute = counter();
    const read = (): Promise<number> => cache.getOrSet(key, compute, options);
    await read();
    await cache.drain();
    await time.pass(90);
    compute.gate = new Gate();
    expect(await read()).toBe(1);
    await compute.gate.reached;
    await database.pool.query('INSERT INTO items VALUES ($1)', [run]);
    compute.gate.release();
    await cache.drain();
    compute.gate = undefined;
    expect(await read()).toBe(3);
  });

  it('is done by one of two processes, with a lease', async () => {
    const [one, other] = [await open(), await open()];
    const compute = counter();
    const leased = { ...options, lease: { ttl: '10m' } };
    const read = ({ cache }: TestCache): Promise<number> => cache.getOrSet(key, compute, leased);
    await read(one);
    await one.cache.drain();
    await time.pass(90);
    compute.gate = new Gate();
    expect(await read(one)).toBe(1);
    await compute.gate.reached;
    expect(await read(other)).toBe(1);
    await other.cache.drain();
    compute.gate.release();
    await one.cache.drain();
    expect(compute.calls).toBe(2);
  });
});

describe('ttlJitter', () => {
  const options: EntryOptions = { domains: ['item'], ttl: TTL, ttlJitter: 0.1 };

  it.each([
    [0, 100_000],
    [0.5, 95_000],
    [0.9, 91_000],
  ])('with a random number of %d has a value live %d ms', async (random, ttl) => {
    const { cache } = await open({ random: () => random });
    await cache.getOrSet(key, counter(), options);
    await cache.set(`${key} set`, 1, { untracked: true, ttl: TTL, ttlJitter: 0.1 });
    await cache.drain();
    expect(await lifeOf(key)).toEqual({ ttl, stale: null });
    expect((await lifeOf(`${key} set`))!.ttl).toBe(ttl);
  });

  it('shortens what is made of the value, too', async () => {
    const { cache } = await open({ random: () => 0.5 });
    const inner = (): Promise<number> => cache.getOrSet(`${key} inner`, counter(), options);
    await cache.getOrSet(key, inner, { untracked: true, ttl: 1_000 });
    await cache.drain();
    expect((await lifeOf(key))!.ttl).toBeLessThan(96_000);
  });
});

describe('negativeTtl', () => {
  const options: EntryOptions = { domains: ['item'], ttl: TTL, negativeTtl: '10s', grace: '5s' };

  it.each<[string, unknown, number]>([
    ['null', null, 10_000],
    ['undefined', undefined, 10_000],
    ['an empty list', [], 10_000],
    ['an empty map', new Map(), 10_000],
    ['an empty set', new Set(), 10_000],
    ['0', 0, 100_000],
    ['an empty text', '', 100_000],
    ['false', false, 100_000],
    ['a list of null', [null], 100_000],
    ['an object without properties', {}, 100_000],
  ])('has %s live', async (_, value, ttl) => {
    const { cache } = await open();
    await cache.getOrSet(key, async () => value, options);
    await cache.drain();
    expect(await lifeOf(key)).toEqual({ ttl, stale: 5_000 });
  });

  it('is that of what is made of the value, too', async () => {
    const { cache } = await open();
    const inner = (): Promise<null> => cache.getOrSet(`${key} inner`, async () => null, options);
    await cache.getOrSet(key, async () => [await inner()], { untracked: true, ttl: 1_000 });
    await cache.drain();
    expect((await lifeOf(key))!.ttl).toBeLessThan(11_000);
  });

  it('of 0 has nothing stored, and errors never are', async () => {
    const { cache } = await open();
    const compute = counter();
    const read = (work: () => Promise<unknown>): Promise<unknown> =>
      cache.getOrSet(key, work, { ...options, negativeTtl: 0 });
    const nothing = (): Promise<null> => compute().then(() => null);
    await read(nothing);
    await cache.drain();
    await read(nothing);
    expect(compute.calls).toBe(2);
    await expect(read(async () => Promise.reject(new Error('no luck')))).rejects.toThrow('no luck');
    await cache.drain();
    expect(await lifeOf(key)).toBeUndefined();
  });
});

describe('a renewal in the background', () => {
  const options: EntryOptions = { domains: ['item'], ttl: TTL, staleWhileRevalidate: '10s', eagerRefresh: 0.5 };

  /** Read a value that is due, in some context; returns what the renewal saw of it. */
  async function renewedIn<T>(
    context: (work: () => Promise<unknown>) => Promise<unknown>,
    look: () => T | Promise<T>,
  ): Promise<T> {
    const { cache } = await open();
    await cache.getOrSet(key, counter(), options);
    await cache.drain();
    await time.pass(60);
    let seen: { is: T } | undefined;
    const renew = async (): Promise<number> => {
      seen = { is: await look() };
      return 2;
    };
    await context(() => cache.getOrSet(key, renew, options));
    await cache.drain();
    expect(seen).toBeDefined();
    return seen!.is;
  }

  it('has the async context of the read', async () => {
    const user = new AsyncLocalStorage<string>();
    expect(
      await renewedIn(
        (work) => user.run('ada', work),
        () => user.getStore(),
      ),
    ).toBe('ada');
  });

  it('is no part of the response, and none of a computation around the read', async () => {
    const { cache } = await open();
    const outcomes: Outcome[] = [];
    const outer = (work: () => Promise<unknown>): Promise<unknown> =>
      cache.getOrSet(`${key} outer`, work, { untracked: true });
    // Inside the computation it would be a dependency that is not tracked, and keep the outer value from being stored.
    await renewedIn(
      (work) => collectOutcomes(outcomes, () => outer(work)),
      async () => {
        await cache.get('what is read in the background');
        cache.doNotKeep('of the renewal alone');
      },
    );
    await cache.drain();
    expect(outcomes.map(({ status }) => status).sort()).toEqual(['hit', 'miss']);
    expect(await cache.get(`${key} outer`)).toBe(1);
  });

  it('has a fence of its own, not that of the operation around the read', async () => {
    const { cache } = await open();
    await cache.getOrSet(key, counter(), options);
    await cache.drain();
    await time.pass(60);
    await cache.withFence(async () => {
      // Void for all that has the operation's fence, and seen by who begins now.
      await cache.invalidate({ free: [key] });
      expect(await cache.getOrSet(key, async () => 2, { ...options, tags: [key] })).toBe(1);
    });
    await cache.drain();
    expect(await cache.get(key)).toBe(2);
  });

  it('is not made in a transaction, which none is begun from', async () => {
    const { cache } = await open();
    const compute = counter();
    await cache.getOrSet(key, compute, options);
    await cache.drain();
    await time.pass(TTL + 1);
    const stop = transactions.watch(() => ({ queryable: undefined }));
    try {
      expect(await cache.getOrSet(key, compute, { ...options, hardTimeout: '1ms' })).toBe(2);
      await cache.drain();
      expect(compute.calls).toBe(2);
      expect(await lifeOf(key)).toMatchObject({ ttl: TTL * 1_000 });
    } finally {
      stop();
    }
    expect(await cache.getOrSet(key, compute, options)).toBe(1);
  });

  it('does not compute in a transaction that its caller has begun since', async () => {
    const { cache } = await open({ memory: { ttl: '1h' }, freshness: { maxStaleness: '1h' } });
    const compute = counter();
    await cache.getOrSet(key, compute, options);
    await cache.drain();
    await time.pass(60);
    await cache.getOrSet(key, compute, options);
    const stop = transactions.watch(() => ({ queryable: undefined }));
    try {
      await cache.drain();
    } finally {
      stop();
    }
    expect(compute.calls).toBe(1);
  });

  it('is waited for when the application ends', async () => {
    // So that the renewal has still to ask for its fence.
    const { cache } = await open({ memory: { ttl: '1h' }, freshness: { maxStaleness: '1h' } });
    const compute = counter();
    await cache.getOrSet(key, compute, options);
    await cache.drain();
    await time.pass(60);
    compute.gate = new Gate();
    await cache.getOrSet(key, compute, options);
    const order: string[] = [];
    const drained = cache.drain().then(() => order.push('drained'));
    await compute.gate.reached;
    order.push('released');
    compute.gate.release();
    await drained;
    expect(order).toEqual(['released', 'drained']);
    expect((await cache.get(key)) === 2).toBe(true);
  });
});

describe('options', () => {
  const make = (options: Partial<ResultCacheOptions>, entry: EntryOptions = {}): unknown => {
    const cache = new ResultCache({ store: store.store, ...options });
    return cache.policy({ untracked: true, ...entry }, 'orders');
  };
  let store: TestCache;
  beforeEach(async () => void (store = await open()));

  it.each<[Partial<ResultCacheOptions>, EntryOptions, string]>([
    [
      {},
      { staleWhileRevalidate: '1d' },
      'orders: staleWhileRevalidate "1d" and the ttl of 300 s together are longer than maxTtl',
    ],
    [
      {},
      { grace: '25h', ttl: '1m' },
      'orders: grace "25h" and the ttl of 60 s together are longer than maxTtl (86400 s)',
    ],
    [
      { maxTtl: '1h' },
      { serveInvalidatedInGrace: '2h' },
      'orders: serveInvalidatedInGrace "2h" are longer than maxTtl',
    ],
    [{ grace: '1d' }, {}, 'the cache \'result-cache\': grace "1d" and the ttl of 300 s together'],
    [{}, { negativeTtl: '2d' }, 'orders: negativeTtl "2d" are longer than maxTtl'],
    [{}, { grace: 'long' }, 'orders: grace: "long" is not a time to live'],
    [{}, { softTimeout: '1s' }, "orders: softTimeout has nothing to serve instead; write grace: '1h' beside it"],
    [{}, { softTimeout: '1s', hardTimeout: '1s', grace: '1h' }, 'orders: softTimeout is not shorter than hardTimeout'],
    [{}, { hardTimeout: 0 }, "orders: hardTimeout: 0 is no time to wait; write hardTimeout: '500ms'"],
    [{}, { hardTimeout: '30d' }, 'orders: hardTimeout: "30d" is no time to wait'],
    [{}, { eagerRefresh: 1 }, 'orders: eagerRefresh: 1 is no share; write a number between 0 and 1, such as 0.8'],
    [{}, { ttlJitter: 10 }, 'orders: ttlJitter: 10 is no share'],
    [{ softTimeout: '1s' }, {}, "the cache 'result-cache': softTimeout has nothing to serve instead"],
  ])('%j and %j are refused', (cache, entry, message) => {
    const attempt = (): unknown => make(cache, entry);
    expect(attempt).toThrow(CacheConfigurationError);
    expect(attempt).toThrow(message);
  });

  it.each<[Partial<ResultCacheOptions>, EntryOptions]>([
    // What comes from the cache is cut to what maxTtl leaves.
    [{ grace: '12h' }, { ttl: '20h' }],
    [
      { grace: '1h', softTimeout: '1s' },
      { grace: false, softTimeout: false },
    ],
    [{ grace: '1h' }, { softTimeout: '1s' }],
  ])('%j and %j are right', (cache, entry) => {
    expect(() => make(cache, entry)).not.toThrow();
  });

  it('of the cache hold for its values, and those of a value come first', async () => {
    const { cache } = await open({ grace: '10s', ttlJitter: 0.5, random: () => 0.5 });
    await cache.getOrSet(key, counter(), { untracked: true, ttl: TTL });
    await cache.getOrSet(`${key} own`, counter(), { untracked: true, ttl: TTL, grace: '20s', ttlJitter: false });
    await cache.drain();
    expect([await lifeOf(key), await lifeOf(`${key} own`)]).toEqual([
      { ttl: 75_000, stale: 10_000 },
      { ttl: 100_000, stale: 20_000 },
    ]);
  });
});

describe('in an application', () => {
  let isDown = false;

  @Injectable()
  class Orders {
    constructor(private readonly tenants: TenantContext) {}

    calls = 0;

    @CacheResult({ domains: ['item'], ttl: TTL, staleWhileRevalidate: '10s' })
    async mine(): Promise<string> {
      this.calls++;
      return `${this.tenants.current()} ${this.calls}`;
    }

    @CacheResult({ rows: (id: number) => [['item', { id }]], ttl: TTL, grace: '1h' })
    async order(_id: number, error: string): Promise<string> {
      if (isDown) throw error === 'forbidden' ? new HttpException('no', 403) : new Error(error);
      return 'good';
    }
  }

  @Controller()
  class OrdersController {
    constructor(private readonly orders: Orders) {}

    @Get('mine')
    async mine(): Promise<string> {
      return this.orders.mine();
    }

    @Get('order')
    async order(@Headers('x-error') error: string): Promise<string> {
      return this.orders.order(1, error ?? '');
    }
  }

  const start = () => startNest(database, { providers: [Orders], controllers: [OrdersController] });
  const later = (seconds: number): Promise<void> => time.pass(seconds);

  it('a tenant’s value is renewed as that tenant’s, and served to nobody else', async () => {
    const nest = await start();
    expect((await nest.get('/mine', 'acme')).text).toBe('acme 1');
    await nest.drain();
    await nest.app.close();
    const again = await start();
    await later(TTL + 1);
    const stale = await again.get('/mine', 'acme');
    expect(stale.text).toBe('acme 1');
    expect(stale.headers['cache-status']).toMatch(/^default; hit; ttl=-\d+; detail="postgres"$/);
    await again.drain();
    expect((await again.get('/mine', 'acme')).text).toBe('acme 1');
    expect((await again.get('/mine', 'globex')).text).toBe('globex 2');
  });

  it('a failure is a warning where an older value is served; what the caller may not do is an error', async () => {
    isDown = false;
    const nest = await start();
    expect((await nest.get('/order').set('x-error', 'no luck')).text).toBe('good');
    expect((await nest.get('/order').set('x-error', 'forbidden')).text).toBe('good');
    await nest.drain();
    await nest.app.close();
    const again = await start();
    await later(TTL + 1);
    isDown = true;
    expect((await again.get('/order').set('x-error', 'no luck')).text).toBe('good');
    expect(again.warnings.join()).toContain(
      'Orders.order could not be computed anew, and an older value is served: no luck',
    );
    expect((await again.get('/order').set('x-error', 'forbidden')).status).toBe(403);
  });

  it('a cache with a name has options of its own, and the module’s where it says nothing', async () => {
    const nest = await startNest(database, {
      options: { grace: '10s', ttlJitter: 0.5, eagerRefresh: 0.9 },
      imports: [CacheModule.forFeature({ name: 'reports', ttlJitter: false })],
    });
    const named = nest.app.get<CacheService>(getCacheToken('reports'));
    await named.getOrSet('k', async () => 1, { untracked: true, ttl: TTL, tenant: 'shared' });
    await nest.drain();
    const { rows } = await database.pool.query<{ key: string }>(
      `SELECT cache_key AS key FROM fraiseql_cache.fraiseql_cache WHERE cache_key LIKE '%reports%'`,
    );
    expect(await lifeOf(rows[0]!.key)).toEqual({ ttl: 100_000, stale: 10_000 });
  });
});
