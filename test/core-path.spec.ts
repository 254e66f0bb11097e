import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { closeCaches, openCache, settle, type TestCache } from './support/caches.js';
import { createDatabase, type TestDatabase } from './support/database.js';

let database: TestDatabase;
let one: TestCache;
let other: TestCache;
const watch = [
  { table: 'users', domain: 'user', tenantColumn: 'tenant_id' },
  { table: 'posts', domain: 'post', tenantColumn: 'tenant_id' },
];

beforeAll(async () => {
  database = await createDatabase();
  await database.pool.query(`
    CREATE TABLE users (id int PRIMARY KEY, tenant_id text NOT NULL, name text NOT NULL);
    CREATE TABLE posts (id int PRIMARY KEY, tenant_id text NOT NULL, author_id int NOT NULL, title text NOT NULL);
    INSERT INTO users VALUES (1, 'acme', 'Ada'), (2, 'globex', 'Bob');`);
  one = await openCache(database, { watch });
  other = await openCache(database, { watch });
});

afterAll(async () => {
  await closeCaches();
  await database.drop();
});

const names = async (): Promise<string[]> =>
  (await database.pool.query<{ name: string }>('SELECT name FROM users ORDER BY id')).rows.map(({ name }) => name);

/** Counts its calls and reads the users' names. */
function computation(): { (): Promise<string[]>; calls: number } {
  const compute = Object.assign(
    async () => {
      compute.calls++;
      return names();
    },
    { calls: 0 },
  );
  return compute;
}

let key = '';
beforeEach(() => {
  key = `k${Math.random()}`;
});

describe('the core path', () => {
  it('computes once, then serves every process', async () => {
    const compute = computation();
    const first = await one.cache.getOrSet(key, compute, { domains: ['user'] });
    await one.cache.drain();
    expect(await one.cache.getOrSet(key, compute, { domains: ['user'] })).toEqual(first);
    expect(await other.cache.getOrSet(key, compute, { domains: ['user'] })).toEqual(first);
    expect(compute.calls).toBe(1);
  });

  it('sees a row changed by plain SQL at the very next read', async () => {
    const compute = computation();
    await one.cache.getOrSet(key, compute, { domains: ['user'] });
    await one.cache.drain();
    await database.pool.query(`UPDATE users SET name = 'Ada Lovelace' WHERE id = 1`);
    expect(await one.cache.getOrSet(key, compute, { domains: ['user'] })).toEqual(['Ada Lovelace', 'Bob']);
    expect(await other.cache.getOrSet(key, compute, { domains: ['user'] })).toContain('Ada Lovelace');
    await database.pool.query(`UPDATE users SET name = 'Ada' WHERE id = 1`);
  });

  it('leaves a result of another domain alone', async () => {
    const compute = computation();
    await one.cache.getOrSet(key, compute, { domains: ['user'] });
    await one.cache.drain();
    await database.pool.query(`INSERT INTO posts VALUES ($1, 'acme', 1, 'x')`, [Math.floor(Math.random() * 1e9)]);
    await one.cache.getOrSet(key, compute, { domains: ['user'] });
    expect(compute.calls).toBe(1);
  });

  it('never serves what was computed before a slow writer committed', async () => {
    const compute = computation();
    const writer = await database.pool.connect();
    try {
      await writer.query('BEGIN');
      await writer.query(`UPDATE users SET name = 'slow' WHERE id = 2`);
      await one.cache.getOrSet(key, compute, { domains: ['user'] });
      await one.cache.drain();
      // The writer is still open: the value is good, for every process.
      expect(await other.cache.getOrSet(key, compute, { domains: ['user'] })).toEqual(['Ada', 'Bob']);
      expect(compute.calls).toBe(1);
      await writer.query('COMMIT');
    } finally {
      writer.release();
    }
    expect(await other.cache.getOrSet(key, compute, { domains: ['user'] })).toEqual(['Ada', 'slow']);
    expect(await one.cache.getOrSet(key, compute, { domains: ['user'] })).toEqual(['Ada', 'slow']);
    await database.pool.query(`UPDATE users SET name = 'Bob' WHERE id = 2`);
  });

  it('takes the fence before it computes', async () => {
    const compute = async (): Promise<string[]> => {
      const read = await names();
      await database.pool.query(`UPDATE users SET name = 'during' WHERE id = 2`);
      return read;
    };
    expect(await one.cache.getOrSet(key, compute, { domains: ['user'] })).toEqual(['Ada', 'Bob']);
    await one.cache.drain();
    expect(await one.cache.get(key)).toBeUndefined();
    expect(await other.cache.get(key)).toBeUndefined();
    await database.pool.query(`UPDATE users SET name = 'Bob' WHERE id = 2`);
  });

  it('hands a nested value’s dependencies to the outer one', async () => {
    const outer = async (): Promise<string> =>
      (await one.cache.getOrSet(`${key}-inner`, names, { domains: ['user'] })).join();
    expect(await one.cache.getOrSet(key, outer, { domains: ['post'] })).toBe('Ada,Bob');
    await one.cache.drain();
    await database.pool.query(`UPDATE users SET name = 'nested' WHERE id = 2`);
    expect(await one.cache.getOrSet(key, outer, { domains: ['post'] })).toBe('Ada,nested');
    await database.pool.query(`UPDATE users SET name = 'Bob' WHERE id = 2`);
  });

  it('computes once for all who ask meanwhile, and again for one who comes after a write', async () => {
    let release!: () => void;
    let hasRead!: () => void;
    const gate = new Promise<void>((resolve) => (release = resolve));
    const read = new Promise<void>((resolve) => (hasRead = resolve));
    const compute = computation();
    const slow = async (): Promise<string[]> => {
      const value = await compute();
      hasRead();
      await gate;
      return value;
    };
    const early = [1, 2, 3].map(() => one.cache.getOrSet(key, slow, { domains: ['user'] }));
    await read;
    await database.pool.query(`UPDATE users SET name = 'late' WHERE id = 2`);
    const late = one.cache.getOrSet(key, compute, { domains: ['user'] });
    expect(await late).toEqual(['Ada', 'late']);
    release();
    expect(await Promise.all(early)).toEqual([1, 2, 3].map(() => ['Ada', 'Bob']));
    expect(compute.calls).toBe(2);
    await one.cache.drain();
    expect(await one.cache.get(key)).toEqual(['Ada', 'late']);
    await database.pool.query(`UPDATE users SET name = 'Bob' WHERE id = 2`);
  });

  it('does not let a deleted key come back from a computation under way', async () => {
    await one.cache.getOrSet(
      key,
      async () => {
        await other.cache.delete(key);
        return 'old';
      },
      { domains: ['user'] },
    );
    await one.cache.drain();
    expect(await one.cache.get(key)).toBeUndefined();
  });

  it('invalidates by pattern in all processes, also what is being computed', async () => {
    await one.cache.getOrSet(`${key}:b`, async () => 1, { domains: ['user'] });
    await one.cache.getOrSet(`${key}%`, async () => 1, { domains: ['user'] });
    await one.cache.drain();
    await one.cache.getOrSet(
      `${key}:a`,
      async () => {
        expect(await other.cache.invalidatePattern(`${key}:*`)).toBe(1);
        return 'old';
      },
      { domains: ['user'] },
    );
    await one.cache.drain();
    expect(await one.cache.get(`${key}:a`)).toBeUndefined();
    expect(await one.cache.get(`${key}:b`)).toBeUndefined();
    expect(await one.cache.get(`${key}%`)).toBe(1);
  });

  it('is void when the UNLOGGED tables were reset, and works again at once', async () => {
    await one.cache.getOrSet(key, names, { domains: ['user'] });
    await one.cache.drain();
    await database.pool.query('TRUNCATE fraiseql_cache.incarnation');
    expect(await one.cache.get(key)).toBeUndefined();
    await settle(one.store);
    const compute = computation();
    await other.cache.getOrSet(key, compute, { domains: ['user'] });
    await other.cache.drain();
    await one.cache.getOrSet(key, compute, { domains: ['user'] });
    expect(compute.calls).toBe(1);
  });

  it('makes the table anew when it was dropped', async () => {
    await one.cache.getOrSet(key, names, { domains: ['user'] });
    await database.pool.query('DROP TABLE fraiseql_cache.fraiseql_cache');
    expect(await one.cache.getOrSet(key, names, { domains: ['user'] })).toEqual(['Ada', 'Bob']);
    await settle(one.store);
    await one.cache.getOrSet(key, names, { domains: ['user'] });
    await one.cache.drain();
    expect(await one.cache.exists(key)).toBe(true);
  });

  it('does not cache a domain that no table feeds, unless told that it is untracked', async () => {
    const compute = computation();
    await one.cache.getOrSet(key, compute, { domains: ['nobody'] });
    await one.cache.getOrSet(key, compute, { domains: ['nobody'] });
    expect(compute.calls).toBe(2);
    await one.cache.getOrSet(key, compute, { untracked: true });
    await one.cache.drain();
    await one.cache.getOrSet(key, compute, { untracked: true });
    expect(compute.calls).toBe(3);
  });

  it('refuses to store a dependent value without the fence from before it was computed', async () => {
    await expect(one.cache.set(key, 1, { domains: ['user'] })).rejects.toThrow('const fence = await cache.fence()');
    const fence = await one.cache.fence();
    expect(await one.cache.set(key, 1, { domains: ['user'], fence })).toBe(true);
    expect(await one.cache.get(key)).toBe(1);
    await database.pool.query('UPDATE users SET name = name WHERE id = 1');
    expect(await one.cache.get(key)).toBeUndefined();
    expect(await one.cache.set(key, 1, { domains: ['user'], fence })).toBe(false);
    expect(await one.cache.get(key)).toBeUndefined();
  });

  it('depends on single rows where that was declared', async () => {
    const rows = [['user', { id: '1' }]] as const;
    await one.cache.getOrSet(key, names, { rows });
    await one.cache.drain();
    await database.pool.query('UPDATE users SET name = name WHERE id = 2');
    expect(await one.cache.exists(key)).toBe(true);
    await database.pool.query('UPDATE users SET name = name WHERE id = 1');
    expect(await one.cache.exists(key)).toBe(false);
  });

  it('keeps falsy values', async () => {
    for (const value of [null, 0, '', false, []]) {
      let calls = 0;
      const compute = async (): Promise<unknown> => (calls++, value);
      const name = `${key}${JSON.stringify(value)}`;
      await one.cache.getOrSet(name, compute, { untracked: true });
      await one.cache.drain();
      expect(await one.cache.getOrSet(name, compute, { untracked: true })).toEqual(value);
      expect(calls).toBe(1);
    }
  });
});

it.each<[string, (options: object) => Promise<unknown>]>([
  ['getOrSet', (options) => one.cache.getOrSet('k', async () => 1, { domains: ['user'], ...options })],
  ['set', (options) => one.cache.set('k', 1, { untracked: true, ...options })],
])('%s refuses an option that there is not, and names the one that was meant', async (_, call) => {
  await expect(call({ TTL: 5 })).rejects.toThrow("there is no option 'TTL'; did you mean 'ttl'?");
});
