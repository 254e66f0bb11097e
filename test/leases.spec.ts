import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { startServer } from '@workspace/embedded-server';
import { CacheResult, ResultCache, type ExchangeRequest, type ResultCacheOptions } from 'nestjs-result-cache';
import { Gate, GatedStore } from './checks/gated-store.js';
import { closeCaches, openCache, settle, type TestCache } from './support/caches.js';
import { createDatabase, type TestDatabase } from './support/database.js';
import {
  age,
  CallerProcess,
  closeGate,
  count,
  holder,
  nextClaim,
  TABLES,
  WATCH as watch,
} from './support/lease-world.js';
import { closeNest, startNest } from './support/nest.js';
import { installSettled } from './support/settled.js';

/** So long that a test which waits for its end fails. */
const lease = { ttl: '10m' };
const depends = { domains: ['source'], ttl: 60 };

let database: TestDatabase;
let key: string;
let run = 0;

beforeAll(async () => {
  database = await createDatabase();
  await database.pool.query(TABLES);
  await installSettled(database, { watch });
});
beforeEach(() => void (key = `key ${++run}`));
afterEach(async () => {
  await closeNest();
  await closeCaches();
});
afterAll(() => database.drop());

/** A cache as another process would have it. */
const open = (options: Partial<ResultCacheOptions> = {}): Promise<TestCache> =>
  openCache(database, { watch }, { lease, ...options });

const read = async (): Promise<number> => (await database.pool.query<{ v: number }>('SELECT v FROM source')).rows[0]!.v;

/** Reads, then waits at a gate before it ends. */
function slow<T>(work: () => Promise<T>): { compute: () => Promise<T>; gate: Gate } {
  const gate = new Gate();
  const compute = async (): Promise<T> => {
    const value = await work();
    await gate.pass();
    return value;
  };
  return { compute, gate };
}

const never = async (): Promise<never> => {
  throw new Error('computed, though another process does it');
};

describe('callers in four processes', () => {
  let processes: CallerProcess[];
  beforeAll(async () => {
    processes = await Promise.all(Array.from({ length: 4 }, () => CallerProcess.start(database.url)));
  });
  afterAll(() => CallerProcess.stopAll());

  it('have a missing value computed once', async () => {
    const openGate = await closeGate(database);
    const calls = await Promise.all(processes.map((process) => process.call(key, 250)));
    expect(calls.filter(({ isGranted }) => isGranted)).toHaveLength(1);
    await openGate();
    const values = (await Promise.all(calls.map(({ done }) => done))).flat();
    expect(values).toEqual(Array.from({ length: 1_000 }, () => values[0]));
    expect(await count(database.pool, key)).toBe(1);
    expect(await holder(database.pool, key)).toBeUndefined();
  });

  it('have it computed once more when the one that does it is killed', async () => {
    const openGate = await closeGate(database);
    const calls = await Promise.all(processes.map((process) => process.call(key, 250)));
    while ((await count(database.pool, key)) === 0);
    const holder = calls.findIndex(({ isGranted }) => isGranted);
    await processes[holder]!.kill();
    await age(database.pool, key);
    await openGate();
    const rest = calls.filter((_, index) => index !== holder);
    const values = (await Promise.all(rest.map(({ done }) => done))).flat();
    expect(values).toEqual(Array.from({ length: 750 }, () => values[0]));
    expect(await count(database.pool, key)).toBe(2);
  });
});

describe('a caller', () => {
  it('waits for the process that computes, and gets its value', async () => {
    const [one, other] = [await open(), await open()];
    const { compute, gate } = slow(read);
    const first = one.cache.getOrSet(key, compute, depends);
    await gate.reached;
    const refused = nextClaim(other.store.leases, key, false);
    const second = other.cache.getOrSet(key, never, depends);
    await refused;
    gate.release();
    expect(await second).toBe(await first);
  });

  it('does not compute what was stored between its question and its claim', async () => {
    const one = await open();
    const store = GatedStore.over((await open()).store);
    const other = new ResultCache({ store, lease, timeout: Infinity });
    await other.fence();
    const asksForKey = ({ keys }: ExchangeRequest): boolean => keys.includes(key);
    // Two callers, each with an answer from before the value was there.
    const [first, second] = [store.hold('answer', asksForKey), store.hold('answer', asksForKey)];
    const readings = [other.getOrSet(key, never, depends)];
    await first.reached;
    readings.push(other.getOrSet(key, never, depends));
    await second.reached;
    const value = await one.cache.getOrSet(key, read, depends);
    await one.cache.drain();
    // The first one is granted the lease and asks again; the second one finds it granted, and must ask again too.
    const again = store.hold('send', asksForKey);
    first.release();
    await again.reached;
    second.release();
    expect(await readings[1]).toBe(value);
    again.release();
    expect(await readings[0]).toBe(value);
    await other.drain();
    expect(await holder(database.pool, key)).toBeUndefined();
  });

  it('takes over when the computation fails', async () => {
    const [one, other] = [await open(), await open()];
    const { compute, gate } = slow(async () => {});
    const failing = one.cache
      .getOrSet(key, () => compute().then(never), depends)
      .catch((error: Error) => error.message);
    await gate.reached;
    const refused = nextClaim(other.store.leases, key, false);
    const second = other.cache.getOrSet(key, read, depends);
    await refused;
    gate.release();
    expect(await failing).toMatch('computed');
    expect(await second).toBe(await read());
    await other.cache.drain();
    expect(await holder(database.pool, key)).toBeUndefined();
  });

  it('waits for two holders at most, then computes', async () => {
    const [one, other] = [await open(), await open()];
    const { compute, gate } = slow(read);
    const first = one.cache.getOrSet(key, compute, depends);
    await gate.reached;
    const refused = nextClaim(other.store.leases, key, false);
    const waiting = other.cache.getOrSet(key, async () => -1, depends);
    await refused;
    // Somebody else has it, and brings nothing.
    const passOn = (): Promise<unknown> =>
      database.pool.query('UPDATE fraiseql_cache.fill_lease SET number = number + 1 WHERE cache_key = $1', [key]);
    await passOn();
    // Asks on after it has met the second.
    for (let look = 0; look < 2; look++) await nextClaim(other.store.leases, key, false);
    await passOn();
    expect(await waiting).toBe(-1);
    gate.release();
    await first;
  });

  it('waits no longer than it wants to', async () => {
    const [one, other] = [await open(), await open({ lease: { ttl: '10m', wait: 0 } })];
    const { compute, gate } = slow(read);
    const first = one.cache.getOrSet(key, compute, depends);
    await gate.reached;
    expect(await other.cache.getOrSet(key, async () => -1, depends)).toBe(-1);
    gate.release();
    await first;
  });

  it('does not wait for a value that will not be kept', async () => {
    const { cache } = await open();
    const { compute, gate } = slow(async () => cache.doNotKeep('it is made of chance'));
    const first = cache.getOrSet(key, () => compute().then(read), depends);
    await gate.reached;
    expect(await cache.getOrSet(key, async () => -1, depends)).toBe(-1);
    gate.release();
    await first;
  });

  it('without leases waits for nobody', async () => {
    const [one, other] = [await open(), await open()];
    const { compute, gate } = slow(read);
    const first = one.cache.getOrSet(key, compute, depends);
    await gate.reached;
    expect(await other.cache.getOrSet(key, async () => -1, { ...depends, lease: false })).toBe(-1);
    gate.release();
    await first;
  });
});

describe('a caller inside a computation', () => {
  it('does not wait for a process that waits for it', async () => {
    const [one, other] = [await open(), await open()];
    const inside = [slow(async () => 'a inside'), slow(async () => 'b inside')] as const;
    const outside = [slow(async () => {}), slow(async () => {})] as const;
    const crossing = async ({ cache }: TestCache, own: 0 | 1): Promise<string> => {
      const others = own === 0 ? 1 : 0;
      const compute = async (): Promise<string> => {
        await outside[own].compute();
        return cache.getOrSet(`${key} ${others}`, inside[others].compute, depends);
      };
      return cache.getOrSet(`${key} ${own}`, compute, depends);
    };
    const calls = Promise.all([crossing(one, 0), crossing(other, 1)]);
    // Both hold their own lease, and then both compute what the other one holds the lease of.
    for (const level of [outside, inside]) {
      await Promise.all(level.map(({ gate }) => gate.reached));
      for (const { gate } of level) gate.release();
    }
    expect(await calls).toEqual(['b inside', 'a inside']);
  });

  it('does not wait either where its own computation has no lease, for others may have joined that', async () => {
    const [one, other] = [await open(), await open()];
    const { compute, gate } = slow(read);
    const first = one.cache.getOrSet(key, compute, depends);
    await gate.reached;
    const outer = other.cache.getOrSet(`${key} outer`, () => other.cache.getOrSet(key, async () => -1, depends), {
      ...depends,
      lease: false,
    });
    expect(await outer).toBe(-1);
    gate.release();
    await first;
  });

  it('takes a lease that is free, once for all who ask at the same time', async () => {
    const [one, other] = [await open(), await open()];
    const { compute, gate } = slow(read);
    let computations = 0;
    const inner = (): Promise<number> =>
      one.cache.getOrSet(
        key,
        () => {
          computations++;
          return compute();
        },
        depends,
      );
    const outer = one.cache.getOrSet(`${key} outer`, () => Promise.all([inner(), inner()]), {
      ...depends,
      lease: false,
    });
    await gate.reached;
    const refused = nextClaim(other.store.leases, key, false);
    const waiting = other.cache.getOrSet(key, never, depends);
    await refused;
    gate.release();
    const value = await waiting;
    expect(await outer).toEqual([value, value]);
    expect(computations).toBe(1);
  });
});

describe('when the lease cannot be had from the database', () => {
  it('a caller computes, and gets no error', async () => {
    const { store, cache } = await open();
    store.leases.claim = () => Promise.reject(new Error('no such function'));
    expect(await Promise.all([cache.getOrSet(key, read, depends), cache.getOrSet(key, read, depends)])).toEqual([
      await read(),
      await read(),
    ]);
  });

  it('a caller waits no longer than for any answer, and a grant that comes too late is given back', async () => {
    const { store, cache } = await open({ timeout: 250 });
    const claim = store.leases.claim.bind(store.leases);
    const gate = new Gate();
    store.leases.claim = async (claims) => {
      const answers = await claim(claims);
      await gate.pass();
      return answers;
    };
    const isClaimed = gate.reached.then(() => true);
    let reading: Promise<number>;
    // On a busy machine it may be the exchange that takes too long; then there was no claim.
    do reading = cache.getOrSet(key, async () => -1, depends);
    while (!(await Promise.race([isClaimed, reading.then(() => false)])));
    expect(await reading).toBe(-1);
    expect(await holder(database.pool, key)).toBeDefined();
    gate.release();
    while ((await holder(database.pool, key)) !== undefined);
  });

  it('a crash of the server ends all leases', async () => {
    const server = await startServer();
    try {
      const crashed = await createDatabase({ server: server.url() });
      await crashed.pool.query(TABLES);
      await installSettled(crashed, { watch });
      const [one, other] = [await openCache(crashed, { watch }, { lease }), await openCache(crashed, {}, { lease })];
      const { compute, gate } = slow(async () => 1);
      const first = one.cache.getOrSet(key, compute, depends);
      await gate.reached;
      const refused = nextClaim(other.store.leases, key, false);
      const waiting = other.cache.getOrSet(key, async () => 2, depends);
      await refused;
      await server.crash();
      expect(await waiting).toBe(2);
      await server.restart();
      while ((await crashed.pool.query('SELECT 1').catch(() => null)) === null);
      expect(await holder(crashed.pool, key)).toBeUndefined();
      const late = await openCache(crashed, {}, { lease });
      await settle(late.store);
      expect(await late.cache.getOrSet(key, async () => 3, depends)).toBe(3);
      gate.release();
      expect(await first).toBe(1);
      await one.cache.drain();
      await closeCaches();
      await crashed.pool.end();
    } finally {
      await server.stop();
    }
  });
});

describe('the option lease', () => {
  it('of a method counts before the cache’s', async () => {
    class Reports {
      @CacheResult({ domains: ['source'] })
      async byDefault(): Promise<number> {
        return 1;
      }

      @CacheResult({ domains: ['source'], tags: (year: number) => [`${year}`], lease: { ttl: '3s' } })
      async long(year: number): Promise<number> {
        return year;
      }

      @CacheResult({ domains: ['source'], lease: false })
      async alone(): Promise<number> {
        return 3;
      }
    }
    const { app, cache } = await startNest(database, { options: { watch, lease: true }, providers: [Reports] });
    const leases = cache.engine.store.leases!;
    const claim = leases.claim.bind(leases);
    const lengths: number[] = [];
    leases.claim = (claims) => {
      lengths.push(...claims.map(({ ttlMs }) => ttlMs));
      return claim(claims);
    };
    const reports = app.get(Reports);
    expect([await reports.byDefault(), await reports.long(2026), await reports.alone()]).toEqual([1, 2026, 3]);
    expect(lengths).toEqual([10_000, 3_000]);
  });

  it.each([
    ['a text', '10s', /lease: "10s" is unknown; write true/],
    ['another option', { time: 3 }, /lease: there is no option 'time'/],
    ['no time', { ttl: 0 }, /write lease: false/],
    ['a time below zero', { wait: -1 }, /lease.wait: -1 is not a time to live/],
  ])('refuses %s', async (_, wrong, message) => {
    const { cache } = await open();
    expect(() => cache.policy({ ...depends, lease: wrong as never })).toThrow(message);
  });

  it('is refused where the store has no leases', async () => {
    const { store } = await open();
    const without = new Proxy(store, {
      get: (target, name) => (name === 'leases' ? undefined : Reflect.get(target, name)),
    });
    expect(() => new ResultCache({ store: without, lease: true })).toThrow('lease needs a store that has leases');
  });

  it('leaves nothing behind after a purge', async () => {
    const { cache } = await open();
    const { compute, gate } = slow(read);
    const reading = cache.getOrSet(key, compute, depends);
    await gate.reached;
    await age(database.pool, key);
    await cache.purge();
    expect(await holder(database.pool, key)).toBeUndefined();
    gate.release();
    await reading;
  });
});
