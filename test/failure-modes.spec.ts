import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { EVENT_CHANNEL, ResultCache, systemClock, type CacheEvent } from 'nestjs-result-cache';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { GatedStore, onRequest } from './checks/gated-store.js';
import { closeCaches, openCache } from './support/caches.js';
import { createDatabase, type TestDatabase } from './support/database.js';

let database: TestDatabase;
const watch = [{ table: 'users', domain: 'user' }];
const user = { domains: ['user'] };
const errors: string[] = [];
const listen = (message: unknown): void => {
  const event = message as CacheEvent;
  if (event.type === 'error') errors.push(event.operation);
};

beforeEach(async () => {
  errors.length = 0;
  subscribe(EVENT_CHANNEL, listen);
  database = await createDatabase();
  await database.pool.query('CREATE TABLE users (id int PRIMARY KEY)');
});

afterEach(async () => {
  unsubscribe(EVENT_CHANNEL, listen);
  onRequest.length = 0;
  await closeCaches();
  await database.drop();
});

const count = async (): Promise<number> =>
  Number((await database.pool.query<{ count: string }>('SELECT count(*) FROM users')).rows[0]!.count);

it('a full disk costs the entry, and neither the value nor later entries', async () => {
  const { cache } = await openCache(database, { watch });
  await cache.set('warm', 1);
  await database.pool.query(`
    CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN RAISE 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$;
    CREATE TRIGGER full_disk BEFORE INSERT ON fraiseql_cache.fraiseql_cache FOR EACH ROW EXECUTE FUNCTION full_disk()`);
  expect(await cache.getOrSet('k', count, user)).toBe(0);
  await cache.drain();
  expect(errors).toEqual(['fill']);
  expect(await cache.exists('k')).toBe(false);
  // What is stored already is still served.
  expect(await cache.get('warm')).toBe(1);
  await database.pool.query('DROP TRIGGER full_disk ON fraiseql_cache.fraiseql_cache');
  await cache.getOrSet('other', count, user);
  await cache.drain();
  expect(await cache.exists('other')).toBe(true);
});

it.each([-3_600_000, 3_600_000])(
  'a clock that jumps by %i ms makes nothing stale, and keeps no bound from holding',
  async (jump) => {
    const { store } = await openCache(database, { watch });
    const gated = GatedStore.over(store);
    let jumped = 0;
    const clock = { monotonic: systemClock.monotonic, wall: () => systemClock.wall() + jumped };
    const cache = new ResultCache({ store: gated, timeout: Infinity, freshness: { maxStaleness: '1h' }, clock });
    let asked = 0;
    onRequest.push(() => void asked++);
    const read = (freshness?: 'strict'): Promise<number> =>
      cache.getOrSet('k', count, { ...user, ...(freshness && { freshness }) });
    await read();
    await cache.drain();
    await read();
    asked = 0;
    await read();
    // Proof that it is new enough, so nobody need be asked.
    expect(asked).toBe(0);
    jumped = jump;
    await database.pool.query('INSERT INTO users VALUES (1)');
    expect(await read('strict')).toBe(1);
    await cache.drain();
    if (jump > 0) {
      // By one of two clocks the proof is too old now.
      jumped = 2 * jump;
      asked = 0;
      await read();
      expect(asked).toBeGreaterThan(0);
    }
  },
);
