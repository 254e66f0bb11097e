import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import {
  CacheLifecycle,
  EVENT_CHANNEL,
  type CacheEvent,
  type ResultCache,
  UnstorableValueError,
} from 'nestjs-result-cache';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { closeApplications, startApplication } from './support/application.js';
import { closeCaches, openCache } from './support/caches.js';
import { createDatabase, type TestDatabase } from './support/database.js';

let database: TestDatabase;
let told: string[];
const listen = (message: unknown): void => {
  const event = message as CacheEvent;
  if (event.type === 'unstorable') told.push(`${event.view}: ${event.reason}: ${event.message}`);
};

beforeEach(async () => {
  database = await createDatabase();
  told = [];
  subscribe(EVENT_CHANNEL, listen);
});

afterEach(async () => {
  unsubscribe(EVENT_CHANNEL, listen);
  await closeApplications();
  await closeCaches();
  await database.drop();
});

/** Entries `k0`, `k1`, … of 1,000 bytes each, of which later ones live longer. */
async function fill(cache: ResultCache, count: number): Promise<void> {
  await Promise.all(
    Array.from({ length: count }, (_, n) => cache.set(`k${n}`, 'x'.repeat(998), { untracked: true, ttl: 60 + n })),
  );
}

async function left(): Promise<string[]> {
  const { rows } = await database.pool.query<{ key: string }>(
    'SELECT cache_key AS key FROM fraiseql_cache.fraiseql_cache ORDER BY expires_at',
  );
  return rows.map(({ key }) => key);
}

describe('a table over its limit', () => {
  it('of entries loses those that would expire first, at the next purge and not before', async () => {
    const { cache } = await openCache(database, { maxTableEntries: 3 });
    await fill(cache, 10);
    expect(await left()).toHaveLength(10);
    expect(await cache.purge()).toMatchObject({ entries: 0, evicted: 7 });
    expect(await left()).toEqual(['k7', 'k8', 'k9']);
    expect(cache.counters().tableEvictions).toBe(7);
    expect(await cache.purge()).toMatchObject({ evicted: 0 });
  });

  it('of bytes likewise, however little deleting gives back to the disk', async () => {
    const { cache } = await openCache(database, { maxTableBytes: 5_000 });
    await fill(cache, 10);
    const { evicted } = await cache.purge();
    const { entryBytes, totalEntries } = await cache.getStats();
    expect(entryBytes).toBeLessThanOrEqual(5_000);
    // And not more than needed.
    expect((entryBytes! / totalEntries) * (totalEntries + 1)).toBeGreaterThan(5_000);
    expect(totalEntries).toBe(10 - evicted!);
    expect(await left()).toEqual(Array.from({ length: totalEntries }, (_, n) => `k${10 - totalEntries + n}`));
  });

  it('is brought back in batches, past rows that somebody holds', async () => {
    const { cache } = await openCache(database, { maxTableEntries: 100 });
    await cache.setMany(Array.from({ length: 2_500 }, (_, n) => [`k${n}`, n]));
    await database.pool.query(
      `UPDATE fraiseql_cache.fraiseql_cache SET expires_at = now() + (100 + substr(cache_key, 2)::int) * interval '1 s'`,
    );
    const holder = await database.pool.connect();
    await holder.query(`BEGIN; SELECT FROM fraiseql_cache.fraiseql_cache WHERE cache_key = 'k0' FOR UPDATE`);
    expect(await cache.purge()).toMatchObject({ evicted: 2_400 });
    await holder.query('ROLLBACK');
    holder.release();
    expect(await left()).toEqual(['k0', ...Array.from({ length: 99 }, (_, n) => `k${2_401 + n}`)]);
  });

  it('is one process’s business at a time', async () => {
    const one = await openCache(database, { maxTableEntries: 100 });
    const other = await openCache(database, { maxTableEntries: 100 });
    await one.cache.setMany(Array.from({ length: 2_500 }, (_, n) => [`k${n}`, n]));
    await Promise.all([one.cache.purge(), other.cache.purge()]);
    await one.cache.purge();
    expect(await left()).toHaveLength(100);
  });

  it('loses copies only: what is evicted is computed anew, and still void after a write', async () => {
    await database.pool.query('CREATE TABLE users (id int PRIMARY KEY)');
    const options = { maxTableEntries: 1, watch: [{ table: 'users', domain: 'user' }] };
    const [one, other] = [await openCache(database, options), await openCache(database, options)];
    let calls = 0;
    const read = (cache: ResultCache): Promise<number> =>
      cache.getOrSet('evicted', async () => ++calls, { domains: ['user'], ttl: 10 });
    await read(one.cache);
    await one.cache.drain();
    await one.cache.set('stays', 1, { untracked: true, ttl: 60 });
    expect(await other.cache.purge()).toMatchObject({ evicted: 1 });
    // The process that computed it has another copy, which nothing made void.
    expect([await read(one.cache), await read(other.cache)]).toEqual([1, 2]);
    await database.pool.query('INSERT INTO users VALUES (1)');
    expect(await read(one.cache)).toBe(3);
  });

  it('is told of once, with what to do', async () => {
    const { app, cache, warnings } = await startApplication({ connection: database.url, maxTableEntries: 2 });
    for (let round = 0; round < 2; round++) {
      await fill(cache.engine, 5);
      await app.get(CacheLifecycle).purge();
    }
    expect(warnings.filter((line) => line.includes('limit'))).toEqual([
      expect.stringMatching(
        /maxTableEntries 2\): 3 live entries .* Raise the limit, shorten TTLs, or purge more often$/,
      ),
    ]);
  });
});

describe('a value over a limit', () => {
  it.each([
    ['maxValueBytes', { maxValueBytes: 100 }, 'too-large', { tooLarge: 2, tooManyTags: 0 }],
    ['maxTags', { maxTags: 2 }, 'too-many-tags', { tooLarge: 0, tooManyTags: 2 }],
  ] as const)('(%s) is returned, not stored, counted, and told of once', async (name, limits, reason, counted) => {
    const { cache } = await openCache(database, {}, limits);
    const compute = async (): Promise<string> => 'x'.repeat(101);
    const options = { tags: ['a', 'b', 'c'], view: 'Report.yearly' };
    for (let call = 0; call < 2; call++) {
      expect(await cache.getOrSet('k', compute, options)).toHaveLength(101);
      await cache.drain();
      expect(await cache.exists('k')).toBe(false);
    }
    expect(cache.counters()).toMatchObject({ unstorable: 2, stores: 0, ...counted });
    expect(told).toEqual([expect.stringMatching(`^Report.yearly: ${reason}: .*${name}`)]);
    await expect(cache.set('k', await compute(), { tags: options.tags, fence: await cache.fence() })).rejects.toThrow(
      UnstorableValueError,
    );
  });
});

describe('a key over the longest one', () => {
  it('is stored under a digest, and told apart from others of the same beginning', async () => {
    const { cache } = await openCache(database);
    const key = 'k'.repeat(5_000);
    await cache.set(`${key}1`, 1);
    await cache.set(`${key}2`, 2);
    expect([await cache.get(`${key}1`), await cache.get(`${key}2`)]).toEqual([1, 2]);
    for (const stored of await left()) expect(stored.length).toBeLessThanOrEqual(1_000);
  });
});

describe('memory over its limit', () => {
  it('loses what was not used for longest, counted', async () => {
    const { cache } = await openCache(database, {}, { memory: { maxEntries: 2 } });
    for (const key of ['a', 'b', 'c']) {
      await cache.getOrSet(key, async () => key, { untracked: true });
      await cache.drain();
    }
    expect(await cache.getStats()).toMatchObject({ memoryEntries: 2, maxSize: 2, evictions: 1, totalEntries: 3 });
  });
});
