import { startServer, type EmbeddedServer } from '@workspace/embedded-server';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { closeCaches, openCache, type TestCache } from './support/caches.js';
import { createDatabase, type TestDatabase } from './support/database.js';
import { installSettled } from './support/settled.js';

const MAX_TTL = 300;
const MINUTES = 60;
const TAGS = 1_000_000;

// A server of its own: the horizon waits for the oldest transaction of the whole server, and other specs have slow ones.
let server: EmbeddedServer;
let database: TestDatabase;
let one: TestCache;

beforeAll(async () => {
  server = await startServer();
  database = await createDatabase({ server: server.url() });
  await database.pool.query('CREATE TABLE users (id int PRIMARY KEY); INSERT INTO users VALUES (1)');
  one = await openCache(
    database,
    { watch: [{ table: 'users', domain: 'user' }], maxTtl: MAX_TTL },
    { maxTtl: MAX_TTL },
  );
});

afterAll(async () => {
  await closeCaches();
  await database.drop();
  await server.stop();
});

const purgeAt = async (minute: number): Promise<void> => {
  await database.pool.query('SELECT fraiseql_cache.compact_log()');
  await database.pool.query(`SELECT fraiseql_cache.advance_horizon(now() + $1 * interval '1 minute')`, [minute]);
};
const logRows = async (): Promise<number> =>
  Number((await database.pool.query<{ count: string }>('SELECT count(*) FROM fraiseql_cache.log')).rows[0]!.count);

it('stays bounded in an hour of churn over a million column tags, and serves nothing older than the horizon', async () => {
  await installSettled(database, { maxTtl: MAX_TTL });
  await one.cache.getOrSet('old', async () => 'old', { domains: ['user'], ttl: MAX_TTL });
  await one.cache.drain();
  expect(await one.cache.exists('old')).toBe(true);

  const perMinute = Math.ceil(TAGS / MINUTES);
  let most = 0;
  for (let minute = 0; minute < MINUTES; minute++) {
    await database.pool.query(
      `INSERT INTO fraiseql_cache.log (tag, xid) SELECT 'user.id=' || i, pg_current_xact_id()::text::bigint FROM generate_series($1::int, $2::int) i`,
      [minute * perMinute, (minute + 1) * perMinute - 1],
    );
    await purgeAt(minute);
    most = Math.max(most, await logRows());
  }
  // What one longest life of an entry plus two purges can touch, and no more: not the million.
  expect(most).toBeLessThanOrEqual(perMinute * (MAX_TTL / 60 + 2));
  expect(most).toBeGreaterThan(perMinute);
  expect(await one.cache.exists('old')).toBe(false);
  const late = await openCache(database, { maxTtl: MAX_TTL }, { maxTtl: MAX_TTL });
  expect(await late.cache.exists('old')).toBe(false);
}, 120_000);
