import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { Injectable, Logger } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { CacheModule, CacheResult, CacheService, TenantContext } from 'nestjs-result-cache';
import { assertDependencies, UndeclaredDependencyError } from 'nestjs-result-cache/testing';
import type pg from 'pg';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { installSettled } from '../support/settled.js';

// How applications with cached methods are tested. docs/testing.md shows these bodies.

let database: TestDatabase;
let databaseUrl: string;
let pool: pg.Pool;

const watch = [
  { table: 'users', domain: 'user' },
  { table: 'orders', domain: 'order' },
];

@Injectable()
class Users {
  computed = 0;

  @CacheResult({ domains: ['user'], ttl: '5m' })
  async names(): Promise<string[]> {
    this.computed++;
    const { rows } = await pool.query<{ name: string }>('SELECT name FROM users ORDER BY id');
    return rows.map(({ name }) => name);
  }

  @CacheResult({ domains: ['user'], ttl: '5m' }) // and not 'order': a mistake
  async withOrders(): Promise<number> {
    const { rows } = await pool.query<{ n: number }>(
      'SELECT count(*)::int AS n FROM users u JOIN orders o ON o.user_id = u.id',
    );
    return rows[0]!.n;
  }
}

@Injectable()
class Reports {
  constructor(private readonly cache: CacheService) {}

  async yearly(year: number): Promise<number> {
    return this.cache.getOrSet(`yearly:${year}`, async () => year, { domains: ['order'] });
  }
}

beforeAll(async () => {
  database = await createDatabase();
  databaseUrl = database.url;
  pool = database.pool;
  await pool.query(`
    CREATE TABLE users (id int PRIMARY KEY, name text);
    CREATE TABLE orders (id int PRIMARY KEY, user_id int)`);
  await installSettled(database);
});
beforeEach(() =>
  pool.query(`TRUNCATE users, orders; INSERT INTO users VALUES (1, 'Alice'); INSERT INTO orders VALUES (1, 1)`),
);
afterEach(() => void jest.restoreAllMocks());
afterAll(() => database.drop());

/** A module with a real cache, without what a test does not need. */
async function start() {
  const module = await Test.createTestingModule({
    imports: [
      CacheModule.forRoot({
        connection: databaseUrl,
        tenancy: 'optional',
        watch,
        purgeInterval: false, // no timer
        timeout: Infinity, // what is a hit must not depend on how busy the machine is
      }),
    ],
    providers: [Users],
  }).compile();
  return module.init();
}

describe('Unit tests', () => {
  it('Without the module', async () => {
    const warn = jest.spyOn(Logger.prototype, 'warn').mockImplementation(() => undefined);
    const users = new Users();
    await users.names();
    expect(await users.names()).toEqual(['Alice']);

    expect(users.computed).toBe(2); // decorated methods just run
    expect(warn).toHaveBeenCalledTimes(1); // and say so once
  });

  it('With a double of CacheService', async () => {
    const cache = { getOrSet: async (_key: string, compute: () => Promise<unknown>) => compute() };
    const module = await Test.createTestingModule({
      providers: [Reports, { provide: CacheService, useValue: cache }],
    }).compile();

    expect(await module.get(Reports).yearly(2026)).toBe(2026);
  });
});

describe('With a real database', () => {
  it('Hits and writes', async () => {
    const app = await start();
    const users = app.get(Users);
    const { engine } = app.get(CacheService);

    await users.names();
    await engine.drain(); // values are stored behind the caller's back: wait for it
    expect(await users.names()).toEqual(['Alice']);
    expect(users.computed).toBe(1);

    await pool.query(`INSERT INTO users VALUES (2, 'Bob')`);
    expect(await users.names()).toEqual(['Alice', 'Bob']); // nothing to wait for
    await app.close();
  });

  it('A cold cache', async () => {
    const app = await start();
    const users = app.get(Users);
    await users.names();
    await app.get(CacheService).engine.drain();

    await app.get(CacheService).engine.invalidatePattern('*'); // of all tenants, in every process
    users.computed = 0;
    await users.names();
    expect(users.computed).toBe(1);
    await app.close();
  });

  it('As a tenant', async () => {
    const app = await start();
    const [users, tenants, cache] = [app.get(Users), app.get(TenantContext), app.get(CacheService)];
    await cache.engine.invalidatePattern('*');
    for (const tenant of ['acme', 'other', 'acme']) {
      await tenants.run(tenant, () => users.names());
      await cache.engine.drain();
    }
    expect(users.computed).toBe(2); // once for each
    await app.close();
  });
});

describe('Dependencies', () => {
  it('Undeclared ones', async () => {
    const app = await start();
    const stop = assertDependencies(app); // in a set-up file: for all tests, and afterAll(() => stop())

    const wrong = app.get(Users).withOrders();
    await expect(wrong).rejects.toThrow(UndeclaredDependencyError);
    await expect(wrong).rejects.toThrow(
      "Users.withOrders read public.orders, which feeds the domain 'order', and does not declare it: write domains: ['user', 'order'], or domains: 'infer'",
    );
    stop();
    await app.close();
  });
});
