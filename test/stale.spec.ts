import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import {
  ComputationTimeoutError,
  EVENT_CHANNEL,
  MissingTenantError,
  ResultCache,
  type CacheEvent,
  type EntryOptions,
  type ResultCacheOptions,
} from 'nestjs-result-cache';
import { Gate, GatedStore } from './checks/gated-store.js';
import { closeCaches, openCache, openToldCache, type TestCache } from './support/caches.js';
import { createDatabase, type TestDatabase } from './support/database.js';
import { nextClaim } from './support/lease-world.js';
import { PassingTime } from './support/passing-time.js';
import { installSettled } from './support/settled.js';

const TTL = 60;
const watch = [{ table: 'source', domain: 'source' }];

let database: TestDatabase;
let time: PassingTime;
let events: CacheEvent[];
let key: string;
let run = 0;
const listen = (event: unknown): void => void events.push(event as CacheEvent);

beforeAll(async () => {
  database = await createDatabase();
  await database.pool.query('CREATE TABLE source (v int); INSERT INTO source VALUES (1)');
  await installSettled(database, { watch });
  time = new PassingTime(database);
});
beforeEach(() => {
  key = `key ${++run}`;
  events = [];
  subscribe(EVENT_CHANNEL, listen);
});
afterEach(async () => {
  unsubscribe(EVENT_CHANNEL, listen);
  await closeCaches();
});
afterAll(() => database.drop());

const open = (options: Partial<ResultCacheOptions> = {}): Promise<TestCache> =>
  openToldCache(database, { watch }, { clock: time, ...options });

const write = (): Promise<unknown> => database.pool.query('UPDATE source SET v = v + 1');

/** What is computed: `first`, then `second`, and so on; or a failure, or nothing before a gate is opened. */
class Source {
  calls = 0;
  gate: Gate | undefined;
  error: Error | undefined;

  compute = async (): Promise<string> => {
    const call = this.calls++;
    await this.gate?.pass();
    if (this.error !== undefined) throw this.error;
    return ['first', 'second', 'third', 'fourth'][call]!;
  };
}

const told = <T extends CacheEvent['type']>(type: T): Extract<CacheEvent, { type: T }>[] =>
  events.filter((event): event is Extract<CacheEvent, { type: T }> => event.type === type);

/** Who reads what another process, or the same, has computed; and whether it does from the beginning. */
const readers: [from: string, open: (writer: TestCache) => Promise<TestCache>][] = [
  ['its memory', async (writer) => writer],
  ['the table', () => open({ memory: false })],
  ['the table, with a memory of its own', () => open()],
];

describe.each(readers)('a value that %s has', (_, openReader) => {
  let source: Source;
  let cache: ResultCache;
  let options: EntryOptions;
  const read = (): Promise<string> => cache.getOrSet(key, source.compute, options);

  /** Computed once, and past its TTL by so many seconds. */
  async function grownOld(renewal: EntryOptions, seconds: number): Promise<void> {
    options = { domains: ['source'], ttl: TTL, ...renewal };
    source = new Source();
    const writer = await open();
    const reader = await openReader(writer);
    cache = writer.cache;
    expect(await read()).toBe('first');
    await writer.cache.drain();
    cache = reader.cache;
    await time.pass(TTL + seconds);
  }

  it('is not served past its TTL where nothing says so', async () => {
    await grownOld({}, 1);
    expect(await read()).toBe('second');
  });

  describe('with staleWhileRevalidate', () => {
    it('is served at once past its TTL, while one computation renews it', async () => {
      await grownOld({ staleWhileRevalidate: '30s' }, 29);
      source.gate = new Gate();
      expect(await Promise.all([read(), read()])).toEqual(['first', 'first']);
      await source.gate.reached;
      expect(await read()).toBe('first');
      expect(source.calls).toBe(2);
      source.gate.release();
      await cache.drain();
      expect(await read()).toBe('second');
      expect(source.calls).toBe(2);
      expect(told('stale').map(({ reason, isInvalidated }) => ({ reason, isInvalidated }))).toEqual(
        Array.from({ length: 3 }, () => ({ reason: 'revalidating', isInvalidated: false })),
      );
      expect(cache.counters()).toMatchObject({ stale: 3 });
    });

    it('is not served beyond its window', async () => {
      await grownOld({ staleWhileRevalidate: '30s' }, 31);
      expect(await read()).toBe('second');
    });

    it('is not served when something it depends on was touched', async () => {
      await grownOld({ staleWhileRevalidate: '30s' }, 1);
      await write();
      expect(await read()).toBe('second');
    });

    it('is not served when it was deleted', async () => {
      await grownOld({ staleWhileRevalidate: '30s' }, 1);
      await cache.delete(key);
      expect(await read()).toBe('second');
    });

    it('is served until a renewal succeeds', async () => {
      await grownOld({ staleWhileRevalidate: '30s' }, 1);
      source.error = new Error('no luck');
      expect(await read()).toBe('first');
      await cache.drain();
      expect(told('failed')).toMatchObject([{ isBackground: true, error: source.error }]);
      source.error = undefined;
      expect(await read()).toBe('first');
      await cache.drain();
      expect(await read()).toBe('third');
    });

    it('does not enter a value that is being computed', async () => {
      await grownOld({ staleWhileRevalidate: '30s' }, 1);
      const outer = (): Promise<string> => cache.getOrSet(`${key} outer`, read, { untracked: true });
      expect(await outer()).toBe('second');
      await cache.drain();
      expect(await outer()).toBe('second');
    });
  });

  describe('with serveInvalidatedWhileRevalidate', () => {
    it('is served although it was invalidated, if it was computed no longer ago', async () => {
      await grownOld({ serveInvalidatedWhileRevalidate: '2m' }, -1);
      await write();
      source.gate = new Gate();
      expect(await read()).toBe('first');
      await source.gate.reached;
      source.gate.release();
      await cache.drain();
      expect(await read()).toBe('second');
      expect(told('stale')).toMatchObject([{ reason: 'revalidating', isInvalidated: true }]);
    });

    it('is not served if it was computed longer ago', async () => {
      await grownOld({ serveInvalidatedWhileRevalidate: '2m' }, TTL + 1);
      await write();
      expect(await read()).toBe('second');
    });

    it('is not served past its TTL where nothing has invalidated it: that is another option', async () => {
      await grownOld({ serveInvalidatedWhileRevalidate: '2m' }, 1);
      expect(await read()).toBe('second');
    });

    it.each([
      ['it', () => cache.delete(key)],
      ['it by a pattern', () => cache.invalidatePattern(`${key.slice(0, -1)}*`)],
    ])('is not served when somebody deleted %s', async (_what, remove) => {
      await grownOld({ serveInvalidatedWhileRevalidate: '2m' }, -1);
      await remove();
      await write();
      expect(await read()).toBe('second');
    });

    it('is not served when what it was made of was deleted, as another process may with its own commit', async () => {
      const inner = `${key} inner`;
      await grownOld({ serveInvalidatedWhileRevalidate: '2m' }, -1);
      const made = (): Promise<string> =>
        cache.getOrSet(
          `${key} made`,
          () => cache.getOrSet(inner, source.compute, { domains: ['source'], ttl: TTL }),
          options,
        );
      expect(await made()).toBe('second');
      await cache.drain();
      await cache.deleteWithin(inner, database.pool);
      expect(await made()).toBe('third');
    });
  });

  describe('with grace', () => {
    it('is served when computing fails', async () => {
      await grownOld({ grace: '1h' }, 3_000);
      source.error = new Error('no luck');
      expect(await Promise.all([read(), read()])).toEqual(['first', 'first']);
      expect(told('stale')).toMatchObject([{ reason: 'failed' }, { reason: 'failed' }]);
      expect(told('failed')[0]).toMatchObject({ isBackground: false, error: source.error });
      source.error = undefined;
      expect(await read()).not.toBe('first');
    });

    it('is not served beyond its window', async () => {
      await grownOld({ grace: '1h' }, 3_601);
      source.error = new Error('no luck');
      await expect(read()).rejects.toThrow('no luck');
    });

    it('is not served when something it depends on was touched, also while it was computed anew', async () => {
      await grownOld({ grace: '1h' }, 1);
      source.error = new Error('no luck');
      source.gate = new Gate();
      const early = read();
      await source.gate.reached;
      await write();
      await cache.get('anything');
      source.gate.release();
      await expect(early).rejects.toThrow('no luck');
      await expect(read()).rejects.toThrow('no luck');
    });

    it.each<[string, Error]>([
      ['an HTTP exception of 404', Object.assign(new Error(), { getStatus: () => 404 })],
      ['a status of 403', Object.assign(new Error(), { status: 403 })],
      ['a status code of 400', Object.assign(new Error(), { statusCode: 400 })],
      ['a missing tenant', new MissingTenantError('none')],
    ])('is not served for %s', async (_what, error) => {
      await grownOld({ grace: '1h' }, 1);
      source.error = error;
      await expect(read()).rejects.toBe(error);
    });

    it('is served inside another computation, whose value is not kept', async () => {
      await grownOld({ grace: '1h' }, 1);
      source.error = new Error('no luck');
      const outer = (): Promise<string> => cache.getOrSet(`${key} outer`, read, { untracked: true });
      expect(await outer()).toBe('first');
      source.error = undefined;
      await cache.drain();
      expect(await outer()).toBe('third');
    });

    it('is served after softTimeout, while computing goes on', async () => {
      await grownOld({ grace: '1h', softTimeout: '1ms' }, 1);
      source.gate = new Gate();
      expect(await read()).toBe('first');
      expect(told('stale')).toMatchObject([{ reason: 'slow' }]);
      source.gate.release();
      await cache.drain();
      expect(await read()).toBe('second');
    });

    it('is served after hardTimeout, and what fails later is an event', async () => {
      await grownOld({ grace: '1h', hardTimeout: '1ms' }, 1);
      source.gate = new Gate();
      expect(await read()).toBe('first');
      source.error = new Error('no luck');
      source.gate.release();
      await cache.drain();
      expect(told('failed')).toMatchObject([{ isBackground: true, error: source.error }]);
    });
  });

  describe('with serveInvalidatedInGrace', () => {
    it('is served when computing fails, although it was invalidated', async () => {
      await grownOld({ serveInvalidatedInGrace: '1h' }, -1);
      await write();
      source.error = new Error('no luck');
      expect(await read()).toBe('first');
      await time.pass(3_600);
      await expect(read()).rejects.toThrow('no luck');
    });

    it('is served after softTimeout, although it was invalidated', async () => {
      await grownOld({ serveInvalidatedInGrace: '1h', softTimeout: '1ms' }, -1);
      await write();
      source.gate = new Gate();
      expect(await read()).toBe('first');
      source.gate.release();
      await cache.drain();
      expect(await read()).toBe('second');
    });
  });
});

describe('a process that has just begun', () => {
  const fill = async (options: EntryOptions): Promise<Source> => {
    const source = new Source();
    const { cache } = await open();
    await cache.getOrSet(key, source.compute, options);
    await cache.drain();
    return source;
  };
  const renewal = { domains: ['source'], ttl: TTL, staleWhileRevalidate: '30s' };

  it('serves what the log proves to be past its TTL only', async () => {
    const source = await fill(renewal);
    await time.pass(TTL + 1);
    const { cache } = await openCache(database, { watch }, { clock: time });
    expect(await cache.getOrSet(key, source.compute, renewal)).toBe('first');
  });

  it('does not serve what was touched before', async () => {
    const source = await fill(renewal);
    await time.pass(TTL + 1);
    await write();
    const { cache } = await openCache(database, { watch }, { clock: time });
    expect(await cache.getOrSet(key, source.compute, renewal)).toBe('second');
  });

  it('serves what was touched before where the option says so, and not what was deleted before', async () => {
    const options = { ...renewal, serveInvalidatedWhileRevalidate: '2m' };
    const source = await fill(options);
    await write();
    const begun = await openCache(database, { watch }, { clock: time });
    expect(await begun.cache.getOrSet(key, source.compute, options)).toBe('first');
    await begun.cache.drain();

    await begun.cache.deleteWithin(key, database.pool);
    const next = await openCache(database, { watch }, { clock: time });
    expect(await next.cache.getOrSet(key, source.compute, options)).toBe('third');
  });
});

describe('a database that cannot be asked', () => {
  it('is what grace is for: memory serves what is not known to be invalidated, if computing fails too', async () => {
    const store = GatedStore.over((await open()).store);
    const cache = new ResultCache({ store, clock: time, timeout: 50, memory: { ttl: '10s' } });
    const source = new Source();
    const options = { domains: ['source'], ttl: TTL, grace: '1h' };
    const read = (): Promise<string> => cache.getOrSet(key, source.compute, options);
    // What is computed may be refused while an older transaction runs.
    await read();
    await cache.drain();
    // Longer than an entry is a hit in memory, and as long as it has its TTL.
    await time.pass(30);
    store.exchange = async () => Promise.reject(new Error('down'));
    source.error = new Error('down too');
    expect(await read()).toBe('first');
    await time.pass(TTL);
    expect(await read()).toBe('first');
    await time.pass(3_600);
    await expect(read()).rejects.toThrow('down too');
    cache.stop();
  });
});

describe('hardTimeout', () => {
  const options = { domains: ['source'], ttl: TTL, hardTimeout: '1ms', view: 'orders' };

  it('rejects with an error of its own, and what is computed later is stored', async () => {
    const { cache } = await open();
    const source = new Source();
    source.gate = new Gate();
    const failure = await cache.getOrSet(key, source.compute, options).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(ComputationTimeoutError);
    expect(failure).toMatchObject({ view: 'orders', timeoutMs: 1 });
    source.gate.release();
    await cache.drain();
    expect(await cache.getOrSet(key, source.compute, options)).toBe('first');
  });

  it('does not have what is computed later stored where it was touched meanwhile', async () => {
    const { cache } = await open();
    const source = new Source();
    source.gate = new Gate();
    await expect(cache.getOrSet(key, source.compute, options)).rejects.toThrow(ComputationTimeoutError);
    await write();
    source.gate.release();
    await cache.drain();
    expect(await cache.get(key)).toBeUndefined();
  });

  it('counts for each caller who joins, and for values that are not cached', async () => {
    const { cache } = await open();
    const source = new Source();
    source.gate = new Gate();
    const joined = [1, 2].map(() => cache.getOrSet(key, source.compute, options));
    for (const call of joined) await expect(call).rejects.toThrow(ComputationTimeoutError);
    expect(source.calls).toBe(1);
    const nobodys = { ...options, domains: ['unheard of'] };
    await expect(cache.getOrSet(key, source.compute, nobodys)).rejects.toThrow(ComputationTimeoutError);
    source.gate.release();
    await cache.drain();
  });

  it('keeps a value from being stored that was made of the failure', async () => {
    const { cache } = await open();
    const source = new Source();
    source.gate = new Gate();
    const outer = (): Promise<string> => cache.getOrSet(key, source.compute, options).catch(() => 'too slow');
    expect(await cache.getOrSet(`${key} outer`, outer, { untracked: true })).toBe('too slow');
    source.gate.release();
    await cache.drain();
    expect(await cache.get(`${key} outer`)).toBeUndefined();
  });
});

describe('with leases', () => {
  it('one of two processes renews, and the other goes on serving', async () => {
    const options = { domains: ['source'], ttl: TTL, staleWhileRevalidate: '30s', lease: { ttl: '10m' } };
    const [one, other] = [await open(), await open()];
    const source = new Source();
    const read = ({ cache }: TestCache): Promise<string> => cache.getOrSet(key, source.compute, options);
    await read(one);
    await one.cache.drain();
    await time.pass(TTL + 1);
    source.gate = new Gate();
    expect(await read(one)).toBe('first');
    await source.gate.reached;
    const refused = nextClaim(other.store.leases, key, false);
    expect(await read(other)).toBe('first');
    await refused;
    await other.cache.drain();
    expect(await read(other)).toBe('first');
    source.gate.release();
    await Promise.all([one.cache.drain(), other.cache.drain()]);
    expect([await read(one), await read(other)]).toEqual(['second', 'second']);
    expect(source.calls).toBe(2);
  });
});

describe('a row that is kept past its TTL', () => {
  it('is purged when it is over, and not before; plain SQL sees its TTL', async () => {
    const { cache } = await open();
    await time.pass(86_400);
    await cache.purge();
    await cache.set(key, 1, { untracked: true, ttl: TTL, grace: '1h' });
    await time.pass(TTL + 1);
    expect(await cache.purge()).toMatchObject({ entries: 0 });
    const { rows } = await database.pool.query(
      'SELECT expires_at > now() AS "isAlive" FROM fraiseql_cache.fraiseql_cache WHERE cache_key = $1',
      [key],
    );
    expect(rows).toEqual([{ isAlive: false }]);
    expect(await cache.get(key)).toBeUndefined();
    expect(await cache.exists(key)).toBe(false);
    await time.pass(3_600);
    expect((await cache.purge()).entries).toBeGreaterThan(0);
  });

  it('is kept no longer than its table’s maxTtl', async () => {
    const { cache } = await openCache(database, { watch, maxTtl: 86_400 }, { clock: time, maxTtl: '2d' });
    await time.pass(86_400);
    await cache.purge();
    // Of a cache that allows more than its table keeps.
    await cache.set(key, 1, { untracked: true, ttl: TTL, grace: '30h' });
    await time.pass(86_399);
    expect(await cache.purge()).toMatchObject({ entries: 0 });
    await time.pass(1);
    expect(await cache.purge()).toMatchObject({ entries: 1 });
  });
});
