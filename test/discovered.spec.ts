import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { closeCaches, openCache, type TestCache } from './support/caches.js';
import { createDatabase, type TestDatabase } from './support/database.js';

let database: TestDatabase;
let one: TestCache;
let key = '';

beforeAll(async () => {
  database = await createDatabase();
  await database.pool.query('CREATE TABLE a (id int PRIMARY KEY, v int); CREATE TABLE unwatched (v int)');
  one = await openCache(database, { watch: [{ table: 'a', domain: 'a' }] });
});

afterAll(async () => {
  await closeCaches();
  await database.drop();
});

beforeEach(async () => {
  key = `k${Math.random()}`;
  await database.pool.query('DELETE FROM a; INSERT INTO a VALUES (1, 0), (2, 0)');
});

const read = async (id = 1): Promise<number> =>
  (await database.pool.query<{ v: number }>('SELECT v FROM a WHERE id = $1', [id])).rows[0]!.v;

describe('dependencies that are found while a value is computed', () => {
  it('make it void', async () => {
    let computed = 0;
    const get = (): Promise<number> =>
      one.cache.getOrSet(
        key,
        async () => {
          computed++;
          const value = await read();
          await one.cache.dependOn({ rows: [['a', { id: 1 }]] });
          return value;
        },
        { discovers: true },
      );
    expect(await get()).toBe(0);
    await one.cache.drain();
    expect(await get()).toBe(0);
    await database.pool.query('UPDATE a SET v = 7 WHERE id = 2');
    expect(await get()).toBe(0);
    expect(computed).toBe(1);
    await database.pool.query('UPDATE a SET v = 1 WHERE id = 1');
    expect(await get()).toBe(1);
  });

  it.each<[string, () => Promise<unknown>]>([
    ['nothing was found', async () => undefined],
    ['what was found is not tracked', () => one.cache.dependOn({ domains: ['unwatched'] })],
    ['nobody could tell', async () => one.cache.doNotKeep('it reads by dynamic SQL')],
  ])('keep it out of the cache where %s', async (_, find) => {
    let computed = 0;
    const compute = async (): Promise<number> => {
      await find();
      return ++computed;
    };
    for (const expected of [1, 2]) {
      expect(await one.cache.getOrSet(key, compute, { discovers: true })).toBe(expected);
      await one.cache.drain();
    }
  });

  it('reach the value around it, also where this one is not cached', async () => {
    const inner = async (): Promise<number> => {
      const value = await read();
      await one.cache.dependOn({ domains: ['a'] });
      return value;
    };
    const outer = (): Promise<number> =>
      one.cache.getOrSet(key, () => one.cache.computeUncached(inner, one.cache.policy({ discovers: true })), {
        tags: ['t'],
      });
    expect(await outer()).toBe(0);
    await one.cache.drain();
    await database.pool.query('UPDATE a SET v = 1 WHERE id = 1');
    expect(await outer()).toBe(1);
  });

  it.each<[string, boolean]>([
    ['its own', false],
    ['read for it past the cache', true],
  ])('are not known yet while it runs: who comes after a write computes anew (%s)', async (_, nested) => {
    const policy = one.cache.policy(nested ? { tags: ['t'] } : { discovers: true });
    // Learn what of its tags can be learnt.
    await one.cache.getOrSet(`${key} before`, async () => 0, policy);
    await one.cache.drain();
    let go!: () => void;
    const gate = new Promise<void>((resolve) => (go = resolve));
    let tell!: () => void;
    const hasRead = new Promise<void>((resolve) => (tell = resolve));
    const slow = async (): Promise<number> => {
      const value = await read();
      tell();
      await gate;
      await one.cache.dependOn({ domains: ['a'] });
      return value;
    };
    const open = one.cache.policy({ discovers: true });
    const first = one.cache.getOrSet(key, nested ? () => one.cache.computeUncached(slow, open) : slow, policy);
    await hasRead;
    await database.pool.query('UPDATE a SET v = 1 WHERE id = 1');
    const second = one.cache.getOrSet(key, read, policy);
    await one.cache.fence();
    await one.cache.fence();
    go();
    expect(await second).toBe(1);
    expect(await first).toBe(0);
  });
});
