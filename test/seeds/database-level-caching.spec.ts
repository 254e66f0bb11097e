import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Injectable } from '@nestjs/common';
import { CacheResult, PostgresCache, ResultCache } from 'nestjs-result-cache';
import type pg from 'pg';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { closeNest, startNest } from '../support/nest.js';
import { installSettled } from '../support/settled.js';

// Every example of the requirements on database-level caching, under its heading; what PostgreSQL rejects is shown
// rejected, and then as it works. docs/database-level-caching.md shows these bodies.

let database: TestDatabase;
let databaseUrl: string;
let pool: pg.Pool;
let cache: ResultCache;
let store: PostgresCache;

const watch = [
  { table: 'users', domain: 'user' },
  { table: 'posts', domain: 'post' },
];

beforeAll(async () => {
  database = await createDatabase();
  databaseUrl = database.url;
  pool = database.pool;
  await installSettled(database);
  await pool.query(`
    CREATE TABLE users (id int PRIMARY KEY, name text NOT NULL, data jsonb NOT NULL DEFAULT '{}', active bool NOT NULL DEFAULT true,
                        deleted_at timestamptz, follower_count int NOT NULL DEFAULT 0, created_at timestamptz NOT NULL DEFAULT now());
    CREATE TABLE posts (id int PRIMARY KEY, user_id int NOT NULL REFERENCES users, title text, content text NOT NULL,
                        created_at timestamptz NOT NULL DEFAULT now());
    INSERT INTO users (id, name, active) SELECT i, 'user ' || i, i % 10 > 0 FROM generate_series(1, 1000) i;
    INSERT INTO posts (id, user_id, title, content) SELECT i, 1 + i % 100, 'post ' || i, repeat('x', 100) FROM generate_series(1, 3000) i;
    ANALYZE users, posts;`);
  store = new PostgresCache({ connection: databaseUrl, watch });
  await store.initialize();
  cache = new ResultCache({ store, timeout: Infinity });
});

afterAll(async () => {
  await closeNest();
  cache.stop();
  await store.close();
  await database.drop();
});

/** Whether an index can serve a query; in a table as small as this one scanning would be cheaper. */
async function usesIndex(index: string, query: string): Promise<boolean> {
  const client = await pool.connect();
  await client.query('SET enable_seqscan = off');
  const { rows } = await client.query<{ 'QUERY PLAN': string }>(`EXPLAIN ${query}`);
  client.release(true);
  return rows.some((row) => row['QUERY PLAN'].includes(index));
}

describe('Strategy 1: PostgreSQL Built-in Caching', () => {
  it('Always On', async () => {
    const client = await pool.connect();
    // A statement with a name is parsed once per connection and planned once it has shown to be the same every time.
    const byId = (id: number) =>
      client.query({ name: 'get_user', text: 'SELECT name FROM users WHERE id = $1', values: [id] });
    expect((await byId(1)).rows).toEqual([{ name: 'user 1' }]);
    expect((await byId(2)).rows).toEqual([{ name: 'user 2' }]);

    const { rows } = await client.query(`SELECT name FROM pg_prepared_statements`);
    expect(rows).toEqual([{ name: 'get_user' }]);
    client.release();
  });

  it('Configuration', async () => {
    const { rows } = await pool.query(
      `SELECT name, setting, unit FROM pg_settings
        WHERE name IN ('shared_buffers', 'effective_cache_size', 'work_mem') ORDER BY name`,
    );
    expect(rows.map(({ name }) => name)).toEqual(['effective_cache_size', 'shared_buffers', 'work_mem']);
  });
});

describe('Strategy 2: Generated JSONB Columns', () => {
  it('A subquery is refused', async () => {
    const withPosts = pool.query(`
      CREATE TABLE tb_user (id int PRIMARY KEY, first_name text,
        data jsonb GENERATED ALWAYS AS (jsonb_build_object('posts', (SELECT jsonb_agg(title) FROM posts))) STORED)`);
    await expect(withPosts).rejects.toThrow('cannot use subquery in column generation expression');
  });

  it('What a row says about itself', async () => {
    // jsonb_build_object is only STABLE, because some types print by the session's settings. Of int and text it is immutable.
    await pool.query(`
      CREATE FUNCTION user_data(id int, first_name text, last_name text) RETURNS jsonb LANGUAGE sql IMMUTABLE
        RETURN jsonb_build_object('id', id, 'first_name', first_name, 'last_name', last_name);
      CREATE TABLE tb_user (id int PRIMARY KEY, first_name text, last_name text,
        data jsonb GENERATED ALWAYS AS (user_data(id, first_name, last_name)) STORED);
      INSERT INTO tb_user VALUES (1, 'Ada', 'Lovelace')`);
    const { rows } = await pool.query('SELECT data FROM tb_user WHERE id = 1');
    expect(rows).toEqual([{ data: { id: 1, first_name: 'Ada', last_name: 'Lovelace' } }]);
  });
});

describe('Strategy 3: Materialized Views', () => {
  it('CONCURRENTLY needs a unique index on a column', async () => {
    await pool.query(`CREATE MATERIALIZED VIEW mv_plain AS SELECT count(*)::int AS total_users FROM users`);
    await pool.query(`CREATE UNIQUE INDEX ON mv_plain ((1))`);
    await expect(pool.query(`REFRESH MATERIALIZED VIEW CONCURRENTLY mv_plain`)).rejects.toThrow('cannot refresh');

    await pool.query(`
      CREATE MATERIALIZED VIEW mv_dashboard_stats AS
        SELECT 1 AS id, (SELECT count(*)::int FROM users) AS total_users, (SELECT count(*)::int FROM posts) AS total_posts;
      CREATE UNIQUE INDEX ON mv_dashboard_stats (id);`);
    await pool.query(`REFRESH MATERIALIZED VIEW CONCURRENTLY mv_dashboard_stats`);
    const { rows } = await pool.query(`SELECT total_users, total_posts FROM mv_dashboard_stats`);
    expect(rows).toEqual([{ total_users: 1000, total_posts: 3000 }]);
  });

  it('Analytics Dashboard', async () => {
    // The same figures without a schedule and without staleness: computed once, void with the next write to the tables.
    @Injectable()
    class Dashboard {
      computed = 0;
      @CacheResult({ domains: ['user', 'post'], ttl: '1h' })
      async stats() {
        this.computed++;
        const sql = `SELECT (SELECT count(*)::int FROM users) AS total_users, (SELECT count(*)::int FROM posts) AS total_posts`;
        return (await pool.query(sql)).rows[0];
      }
    }
    const { app, drain } = await startNest(database, {
      providers: [Dashboard],
      options: { watch, tenancy: 'off', timeout: Infinity },
    });
    const dashboard = app.get(Dashboard);
    await dashboard.stats();
    await drain();
    expect(await dashboard.stats()).toEqual({ total_users: 1000, total_posts: 3000 });
    expect(dashboard.computed).toBe(1);

    await pool.query(`DELETE FROM posts WHERE id = 3000`);
    expect(await dashboard.stats()).toEqual({ total_users: 1000, total_posts: 2999 });
  });
});

describe('Strategy 4: UNLOGGED Tables', () => {
  it('Ephemeral Cache', async () => {
    // The table, its index on expiry, the clean-up and the reading are what the cache is.
    const expensive = async () =>
      (await pool.query('SELECT avg(length(content))::float8 AS average FROM posts')).rows[0];
    const read = () => cache.getOrSet('dashboard:main', expensive, { domains: ['post'], ttl: 300 });
    expect(await read()).toEqual({ average: 100 });
    await cache.drain();

    const { rows } = await pool.query(
      `SELECT cache_value FROM fraiseql_cache.fraiseql_cache WHERE cache_key = 'dashboard:main' AND expires_at > now()`,
    );
    expect(rows).toEqual([{ cache_value: { average: 100 } }]); // readable with SQL, too
  });
});

describe('Strategy 5: Partial Indexes', () => {
  it('Query-Specific Optimization', async () => {
    await pool.query(`CREATE INDEX users_active_created ON users (created_at) WHERE active AND deleted_at IS NULL`);
    expect(
      await usesIndex(
        'users_active_created',
        `SELECT id FROM users WHERE active AND deleted_at IS NULL ORDER BY created_at LIMIT 10`,
      ),
    ).toBe(true);
  });

  it('A predicate cannot depend on the clock', async () => {
    const recent = pool.query(`CREATE INDEX ON posts (created_at DESC) WHERE created_at > now() - interval '30 days'`);
    await expect(recent).rejects.toThrow('functions in index predicate must be marked IMMUTABLE');
    // A fixed day, moved on from time to time by making the index anew; or no predicate at all: the recent end of a btree is
    // as fast in a large index.
    await pool.query(`CREATE INDEX posts_recent ON posts (created_at DESC) WHERE created_at > '2026-01-01'`);
  });

  it('More Examples', async () => {
    await pool.query(`CREATE INDEX users_popular ON users (id) WHERE follower_count > 1000`);
    await pool.query(`CREATE INDEX users_premium ON users (id) WHERE data ->> 'subscription_tier' = 'premium'`);
    const { rows } = await pool.query(
      `SELECT count(*)::int AS partial FROM pg_index WHERE indrelid = 'users'::regclass AND indpred IS NOT NULL`,
    );
    expect(rows[0].partial).toBeGreaterThanOrEqual(2);
  });
});

describe('Strategy 6: Result Cache Table', () => {
  it('Manual Management', async () => {
    const compute = async () => (await pool.query('SELECT count(*)::int AS posts FROM posts')).rows[0];
    const report = () => cache.getOrSet('report:posts', compute, { domains: ['post'], ttl: 300, view: 'report' });
    await report();
    await cache.drain();
    await report();
    await report();

    // By query type: how often it was found, and how much computing that has saved.
    const { views } = await cache.getStats();
    expect(views['report']).toMatchObject({ hits: 2, misses: 1 });
    expect(views['report']!.computeMsSaved).toBeGreaterThan(0);
  });
});

describe('Implementation Example', () => {
  it('Schema Setup', async () => {
    await pool.query(`
      CREATE FUNCTION account_data(id int, first_name text, email text) RETURNS jsonb LANGUAGE sql IMMUTABLE
        RETURN jsonb_build_object('id', id, 'first_name', first_name, 'email', email);
      CREATE TABLE accounts (
        id serial PRIMARY KEY,
        first_name text NOT NULL,
        email text NOT NULL UNIQUE,
        active boolean NOT NULL DEFAULT true,
        deleted_at timestamptz,
        data jsonb GENERATED ALWAYS AS (account_data(id, first_name, email)) STORED
      );
      CREATE INDEX accounts_active ON accounts (id) WHERE active AND deleted_at IS NULL;
      CREATE INDEX accounts_data ON accounts USING gin (data);
      INSERT INTO accounts (first_name, email) VALUES ('Ada', 'ada@example.com')`);
    const { rows } = await pool.query(`SELECT data FROM accounts WHERE data @> '{"first_name": "Ada"}'`);
    expect(rows).toEqual([{ data: { id: 1, first_name: 'Ada', email: 'ada@example.com' } }]);
  });
});
