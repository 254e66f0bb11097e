import { afterAll, beforeAll, describe, it } from '@jest/globals';
import { PostgresCache } from 'nestjs-result-cache';
import { storeContract, type StoreHost } from 'nestjs-result-cache/testing';
import pg from 'pg';
import { createDatabase } from './support/database.js';

async function createHost(options: { partitions?: number; prepare?: boolean }): Promise<StoreHost> {
  const database = await createDatabase();
  const stores: PostgresCache[] = [];
  return {
    connect: async () => {
      const client = new pg.Client({ connectionString: database.url });
      await client.connect();
      return client;
    },
    open: async (watch) => {
      const store = new PostgresCache({ connection: database.url, watch, ...options });
      stores.push(store);
      await store.initialize();
      return store;
    },
    // What PostgreSQL does to UNLOGGED tables when it starts after a crash; real crashes are in faults.spec.ts. (TRUNCATE
    // would wait for the transactions that a crash ends.)
    crash: async () => {
      await database.pool.query(
        'DELETE FROM fraiseql_cache.fraiseql_cache; DELETE FROM fraiseql_cache.incarnation; DELETE FROM fraiseql_cache.log',
      );
    },
    close: async () => {
      await Promise.all(stores.map((store) => store.close()));
      await database.drop();
    },
  };
}

describe.each([
  ['', {}],
  [' in 4 partitions, without prepared statements', { partitions: 4, prepare: false }],
])('PostgresCache%s keeps the store contract:', (_, options) => {
  const contract = storeContract(() => createHost(options));
  beforeAll(() => contract.setUp());
  afterAll(() => contract.tearDown());
  for (const { name, run } of contract.cases) it(name, run);
});
