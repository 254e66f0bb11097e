import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { NO_DEPENDENCIES } from 'nestjs-result-cache';
import { closeCaches, openCache, type TestCache } from './support/caches.js';
import { createDatabase, type TestDatabase } from './support/database.js';

let database: TestDatabase;
let caches: Record<string, TestCache>;

beforeAll(async () => {
  database = await createDatabase();
  caches = {
    'one table': await openCache(database, { tableName: 'one' }),
    partitions: await openCache(database, { tableName: 'parts', partitions: 4 }),
  };
});

afterAll(async () => {
  await closeCaches();
  await database.drop();
});

/**
 * Two batches that share keys wait for each other for ever, unless both take the rows in the same order. So one that has
 * to wait for the smallest key may hold none of the others yet.
 */
describe.each(['one table', 'partitions'])('in %s, entries are locked in the order of their keys by', (kind) => {
  const keys = ['d', 'b', 'c', 'a'];
  let table: string;
  let one: TestCache;

  beforeEach(async () => {
    one = caches[kind]!;
    table = one.store.table.quoted;
    // Stored so that no scan of the table comes by them in order.
    for (const key of keys) await one.cache.set(key, 1);
  });

  const operations: [string, () => Promise<unknown>][] = [
    [
      'fill',
      async () => {
        const fence = await one.cache.fence();
        const same = { json: '2', types: null, fence, ttlMs: 60_000, tags: [], dependencies: NO_DEPENDENCIES };
        await one.store.fill(keys.map((key) => ({ key, ...same, tenantId: null, view: null, computeMs: null })));
      },
    ],
    ['delete', async () => one.store.delete(keys)],
    ['deleteMatching', async () => one.store.deleteMatching('', '_')],
  ];

  it.each(operations)('%s', async (_, operate) => {
    const first = await database.pool.connect();
    try {
      await first.query('BEGIN');
      const { rows } = await first.query<{ pid: number }>(
        `SELECT pg_backend_pid() AS pid FROM ${table} WHERE cache_key = 'a' FOR UPDATE`,
      );
      const operation = operate();
      const waiting = 'SELECT 1 FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid))';
      while ((await database.pool.query(waiting, [rows[0]!.pid])).rowCount === 0);
      const others = await database.pool.query(
        `SELECT cache_key FROM ${table} WHERE cache_key IN ('b', 'c', 'd') ORDER BY 1 FOR UPDATE SKIP LOCKED`,
      );
      expect(others.rows).toEqual([{ cache_key: 'b' }, { cache_key: 'c' }, { cache_key: 'd' }]);
      await first.query('COMMIT');
      await operation;
    } finally {
      first.release(true);
    }
  });
});
