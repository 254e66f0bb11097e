import { afterAll, beforeAll, beforeEach, expect, it } from '@jest/globals';
import { closeCaches, openCache, type TestCache } from './support/caches.js';
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

it('a process that runs learns at once that a table has lost a trigger, as another process’s audit has found', async () => {
  const { cache } = running;
  const get = (): Promise<number> => cache.getOrSet('v', read, { domains: ['person'] });
  await get();
  await cache.drain();
  await database.pool.query('ALTER TABLE people DISABLE TRIGGER fraiseql_cache_update');
  await database.pool.query('SELECT fraiseql_cache.check_domains()');
  expect(await get()).toBe(0);
  await cache.drain();
  await database.pool.query('UPDATE people SET v = v + 1');
  expect(await get()).toBe(1);
  expect(await cache.exists('v')).toBe(false);
  await database.pool.query('ALTER TABLE people ENABLE ALWAYS TRIGGER fraiseql_cache_update');
});

it('what is found while a value is computed is looked up anew when a table feeds another domain', async () => {
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
