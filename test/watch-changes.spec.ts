import { afterAll, beforeAll, beforeEach, expect, it } from '@jest/globals';
import { closeCaches, openCache, settle, type TestCache } from './support/caches.js';
import { createDatabase, type TestDatabase } from './support/database.js';

let database: TestDatabase;
let running: TestCache;

beforeAll(async () => {
  database = await createDatabase();
  await database.pool.query(
    'CREATE TABLE people (id int PRIMARY KEY, v int NOT NULL); INSERT INTO people VALUES (1, 0)',
  );
});

beforeEach(async () => {
  await database.pool.query('UPDATE people SET v = 0');
  running = await openCache(database, { watch: [{ table: 'people', domain: 'person' }] });
});

afterAll(async () => {
  await closeCaches();
  await database.drop();
});

const read = async (): Promise<number> => (await database.pool.query<{ v: number }>('SELECT v FROM people')).rows[0]!.v;

// Another process, of a newer version of the application say, has its own idea of what a table feeds.
it.each<[string, () => Promise<unknown>]>([
  ['feeds another domain', () => database.pool.query(`SELECT fraiseql_cache.watch('people', 'member')`)],
  ['is not watched any more', () => database.pool.query(`SELECT fraiseql_cache.unwatch('people')`)],
  [
    'has lost a trigger, as another process’s audit has found',
    async () => {
      await database.pool.query('ALTER TABLE people DISABLE TRIGGER fraiseql_cache_update');
      await database.pool.query('SELECT fraiseql_cache.check_domains()');
    },
  ],
])('a process that runs learns at once that a table %s', async (_, change) => {
  const { cache } = running;
  const get = (): Promise<number> => cache.getOrSet('v', read, { domains: ['person'] });
  await get();
  await cache.drain();
  await change();
  await settle(running.store);
  expect(await get()).toBe(0);
  await cache.drain();
  await database.pool.query('UPDATE people SET v = v + 1');
  expect(await get()).toBe(1);
  expect(await cache.exists('v')).toBe(false);
});

it('and what is found while values are computed is looked up anew', async () => {
  const { cache } = running;
  const get = (): Promise<number> =>
    cache.getOrSet(
      'found',
      async () => {
        const value = await read();
        await cache.dependOn({ rows: [['person', { id: 1 }]] });
        return value;
      },
      { discovers: true },
    );
  await get();
  await cache.drain();
  await database.pool.query(`SELECT fraiseql_cache.watch('people', 'member')`);
  expect(await get()).toBe(0);
  await cache.drain();
  await database.pool.query('UPDATE people SET v = v + 1');
  expect(await get()).toBe(1);
});
