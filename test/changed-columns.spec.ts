import { afterAll, afterEach, beforeEach, expect, it } from '@jest/globals';
import { closeCaches, openCache, type TestCache } from './support/caches.js';
import { createDatabase, type TestDatabase } from './support/database.js';

let database: TestDatabase;
let one: TestCache;
const watch = [
  { table: 'orders', domain: 'order', tenantColumn: 'tenant_id', tagColumns: [['customer_id']] },
  { table: 'totals', domain: 'total' },
];

const sql = (text: string): Promise<unknown> => database.pool.query(text);

beforeEach(async () => {
  database = await createDatabase();
  await sql(`CREATE TABLE orders (id int PRIMARY KEY, tenant_id text, customer_id int, v int NOT NULL DEFAULT 0);
    CREATE TABLE totals (id int PRIMARY KEY, customer_id int);
    INSERT INTO orders VALUES (1, 'acme', 7), (2, 'acme', 8)`);
  one = await openCache(database, { watch });
  await sql(`INSERT INTO fraiseql_cache.cascade_rules VALUES ('order', 'total', 'invalidate')`);
});

afterEach(async () => {
  await closeCaches();
  await database.drop();
});

afterAll(() => closeCaches());

const WRITES = [
  `UPDATE orders SET v = v + 1 WHERE id = 1`,
  `UPDATE orders SET v = v + 1`,
  `INSERT INTO orders (id) VALUES (9)`,
  `DELETE FROM orders WHERE id = 9`,
  `TRUNCATE orders`,
];

// Migrations change tables while the application runs: its writes must not fail for the cache's sake.
it.each([
  ['was renamed', 'ALTER TABLE orders RENAME COLUMN customer_id TO client_id'],
  ['was dropped', 'ALTER TABLE orders DROP COLUMN customer_id'],
  ['that tells the tenant was dropped', 'ALTER TABLE orders DROP COLUMN tenant_id'],
])('a write succeeds, and everything of the domain is void, after a tag column %s', async (_, change) => {
  const { cache } = one;
  await sql(change);
  for (const write of WRITES) {
    let computed = 0;
    const count = async (): Promise<number> => ++computed;
    const values = [
      { key: 'row', options: { rows: [['order', { id: 2 }]] as const } },
      { key: 'domain', options: { domains: ['order'] } },
      { key: 'cascaded', options: { domains: ['total'] } },
    ];
    for (const { key, options } of values) await cache.getOrSet(key, count, options);
    await cache.drain();
    await sql(write);
    for (const { key } of values) expect(await cache.exists(key)).toBe(false);
  }
});

it('rows are told apart again when the table is watched anew', async () => {
  const { cache } = one;
  await sql('ALTER TABLE orders RENAME COLUMN customer_id TO client_id');
  await sql(`SELECT fraiseql_cache.watch('orders', 'order', 'tenant_id', '[["client_id"]]')`);
  await cache.purge();
  const options = { rows: [['order', { client_id: 8 }]] as const };
  await cache.getOrSet('of 8', async () => 1, options);
  await cache.drain();
  await sql('UPDATE orders SET v = 1 WHERE client_id = 7');
  expect(await cache.exists('of 8')).toBe(true);
  await sql('UPDATE orders SET v = 1 WHERE client_id = 8');
  expect(await cache.exists('of 8')).toBe(false);
});
