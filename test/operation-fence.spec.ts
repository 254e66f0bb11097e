import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { type ResultCache } from 'nestjs-result-cache';
import { closeCaches, openCache } from './support/caches.js';
import { createDatabase, type TestDatabase } from './support/database.js';

let database: TestDatabase;
let cache: ResultCache;
let key = '';
let runs = 0;

beforeAll(async () => {
  database = await createDatabase();
  await database.pool.query('CREATE TABLE a (id int PRIMARY KEY, v int); INSERT INTO a VALUES (1, 0)');
  ({ cache } = await openCache(database, { watch: [{ table: 'a', domain: 'a' }] }));
});
beforeEach(async () => {
  key = `k${++runs}`;
  await database.pool.query('UPDATE a SET v = 0');
});
afterAll(async () => {
  await closeCaches();
  await database.drop();
});

const read = async (): Promise<number> => (await database.pool.query<{ v: number }>('SELECT v FROM a')).rows[0]!.v;
const write = (v: number) => database.pool.query('UPDATE a SET v = $1', [v]);

/** Cache something read before, and tell what the next one gets. */
async function cached(value: number): Promise<void> {
  await cache.getOrSet(key, async () => value, { domains: ['a'] });
  await cache.drain();
}
const next = (): Promise<number> => cache.getOrSet(key, read, { domains: ['a'] });

describe('withFence', () => {
  it('makes void what was read in it before a write', async () => {
    await cache.withFence(async () => {
      const before = await read();
      await write(1);
      await cached(before);
    });
    expect(await next()).toBe(1);
  });

  it('keeps what nobody wrote to', async () => {
    await cache.withFence(async () => cached((await read()) + 7));
    expect(await next()).toBe(7);
  });

  it('goes by the outermost fence', async () => {
    await cache.withFence(async () => {
      const before = await read();
      await write(1);
      await cache.withFence(() => cached(before));
    });
    expect(await next()).toBe(1);
  });

  it('ends with the work', async () => {
    await cache.withFence(async () => undefined);
    await write(1);
    await cached(1);
    expect(await cache.getOrSet(key, async () => 2, { domains: ['a'] })).toBe(1);
  });

  it('serves hits, and returns what the work returns', async () => {
    await cached(5);
    expect(await cache.withFence(next)).toBe(5);
    await expect(cache.withFence(async () => Promise.reject(new RangeError('x')))).rejects.toThrow(RangeError);
  });

  it('stores nothing where no fence could be taken: one that is taken later would be too new', async () => {
    const { store } = cache;
    const exchange = store.exchange.bind(store);
    store.exchange = () => Promise.reject(new Error('down'));
    await cache.withFence(async () => {
      const before = await read();
      await write(1);
      store.exchange = exchange;
      await cached(before);
    });
    expect(await next()).toBe(1);
  });
});
