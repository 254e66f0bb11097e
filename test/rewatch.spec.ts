import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type EntryOptions } from 'nestjs-result-cache';
import { closeCaches, openCache, settle, type TestCache } from './support/caches.js';
import { createDatabase, type TestDatabase } from './support/database.js';

let database: TestDatabase;
let one: TestCache;
let computed = 0;

beforeEach(async () => {
  database = await createDatabase();
  await sql("CREATE TABLE users (id int PRIMARY KEY, name text); INSERT INTO users VALUES (1, 'Ann')");
  one = await openCache(database, { watch: [{ table: 'users', domain: 'user' }] });
});

afterEach(async () => {
  await closeCaches();
  await database.drop();
});

const sql = (text: string) => database.pool.query<{ name: string }>(text);

async function read(options: EntryOptions = { domains: ['user'] }): Promise<string> {
  const name = await one.cache.getOrSet(
    'name',
    async () => {
      computed++;
      return (await sql('SELECT name FROM users WHERE id = 1')).rows[0]!.name;
    },
    options,
  );
  await one.cache.drain();
  return name;
}

/** Read until it is served. */
async function prime(): Promise<void> {
  await settle(one.store);
  for (let before = -1; before !== computed;) {
    before = computed;
    await read();
  }
}

/** Whether a process that was running all the time sees every write from now on. */
async function expectNothingStale(): Promise<void> {
  for (const name of ['Ben', 'Cid', 'Dan']) {
    await read();
    await sql(`UPDATE users SET name = '${name}' WHERE id = 1`);
    expect(await read()).toBe(name);
  }
}

describe('a process that runs while', () => {
  it('a table is watched under another domain does not go by the old one', async () => {
    await prime();
    await sql("SELECT fraiseql_cache.watch('users', 'member')");
    await expectNothingStale();
  });

  it('a table is watched no more caches nothing of it', async () => {
    await prime();
    await sql("SELECT fraiseql_cache.unwatch('users')");
    await expectNothingStale();
  });

  it('a table is watched no more hears of it also among more touches than are listed', async () => {
    await prime();
    await sql(`BEGIN; SELECT fraiseql_cache.touch(ARRAY(SELECT 't' || g FROM generate_series(1, 3000) g)); COMMIT;
      SELECT fraiseql_cache.unwatch('users')`);
    await expectNothingStale();
  });

  it('another table is watched caches on', async () => {
    await prime();
    await sql("CREATE TABLE posts (id int PRIMARY KEY); SELECT fraiseql_cache.watch('posts', 'post')");
    await prime();
    await sql("UPDATE users SET name = 'Ben'");
    expect(await read()).toBe('Ben');
  });
});
