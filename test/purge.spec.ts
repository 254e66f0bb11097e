import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { ScheduleModule, SchedulerRegistry } from '@nestjs/schedule';
import { CacheLifecycle, EVENT_CHANNEL, type CacheEvent, type Fence } from 'nestjs-result-cache';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import pg from 'pg';
import { closeApplications, startApplication } from './support/application.js';
import { closeCaches, openCache, type TestCache } from './support/caches.js';
import { createDatabase, type TestDatabase } from './support/database.js';

let database: TestDatabase;
let one: TestCache;
const MAX_TTL = 60;
const open = (): Promise<TestCache> => openCache(database, { maxTtl: MAX_TTL });

beforeEach(async () => {
  database = await createDatabase();
  one = await open();
});

afterEach(async () => {
  await closeApplications();
  jest.restoreAllMocks();
  await closeCaches();
  await database.drop();
});

async function column<T>(
  text: string,
  values: unknown[] = [],
  on: pg.Pool | pg.PoolClient = database.pool,
): Promise<T[]> {
  const { rows } = await on.query<Record<string, T>>(text, values);
  return rows.map((row) => Object.values(row)[0]!);
}

async function expire(keys: number): Promise<void> {
  await one.cache.setMany(Array.from({ length: keys }, (_, n) => [`e${n}`, n]));
  await database.pool.query(
    `UPDATE fraiseql_cache.fraiseql_cache SET expires_at = now() - interval '1 s' WHERE cache_key LIKE 'e%'`,
  );
}

/** Touch a free tag, in a transaction of its own unless one is given. Returns the transaction's id. */
async function touch(tag: string, on: pg.Pool | pg.PoolClient = database.pool): Promise<number> {
  const [xid] = await column<string>(
    `SELECT pg_current_xact_id()::text FROM fraiseql_cache.touch(ARRAY[fraiseql_cache.free_tag($1)])`,
    [tag],
    on,
  );
  return Number(xid);
}

/** Wait until every new snapshot sees this transaction: another spec's on the same server may keep the bound back. */
async function seenByAll(xid: number): Promise<void> {
  while (!(await column<boolean>('SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint > $1', [xid]))[0]);
}

/** `xid`, with a `+` where it is settled, of every row of a tag. */
const rowsOf = (tag: string): Promise<string[]> =>
  column(
    `SELECT xid || CASE WHEN settled THEN '+' ELSE '' END FROM fraiseql_cache.log WHERE tag = fraiseql_cache.free_tag($1) ORDER BY xid`,
    [tag],
  );

const compact = (): Promise<string[]> => column('SELECT fraiseql_cache.compact_log()');

/** A writer that has begun, and holds a transaction id. */
async function begin(tag: string): Promise<{ xid: number; commit: () => Promise<void> }> {
  const client = await database.pool.connect();
  await client.query('BEGIN');
  const xid = await touch(tag, client);
  return { xid, commit: async () => void (await client.query('COMMIT'), client.release()) };
}

describe('a purge', () => {
  it('deletes what has expired, in batches, and says how many', async () => {
    const pool = new pg.Pool({ connectionString: database.url, max: 2 });
    const { store } = await openCache(database, { connection: pool, maxTtl: MAX_TTL });
    await one.cache.set('alive', 1);
    await expire(2_300);
    const query = jest.spyOn(pool, 'query');
    expect(await store.purge()).toMatchObject({ entries: 2_300 });
    const batches = query.mock.calls.filter(([statement]) =>
      JSON.stringify(statement).includes('fraiseql_cache.purge_'),
    );
    expect(batches).toHaveLength(3);
    expect(await column('SELECT cache_key FROM fraiseql_cache.fraiseql_cache')).toEqual(['alive']);
    expect(await store.purge()).toMatchObject({ entries: 0 });
    await closeCaches();
    await pool.end();
  });

  it('is one process’s business at a time', async () => {
    await expire(3);
    const other = await database.pool.connect();
    await other.query('BEGIN');
    const [id] = await column<number>('SELECT id FROM fraiseql_cache.caches');
    await other.query(`SELECT pg_advisory_xact_lock(hashtext('fraiseql_cache.purge'), $1)`, [id]);
    await other.query('SELECT fraiseql_cache.compact()');
    expect(await one.store.purge()).toEqual({ entries: null, logRows: null });
    await other.query('ROLLBACK');
    other.release();
    expect(await one.store.purge()).toEqual({ entries: 3, logRows: expect.any(Number) });
  });

  it('of two at once never counts an entry twice', async () => {
    await expire(1_500);
    const other = await open();
    const results = await Promise.all([one.store.purge(), other.store.purge()]);
    expect(results.reduce((sum, { entries }) => sum + (entries ?? 0), 0)).toBe(1_500);
  });

  it('ends early, without an error, when its pool is closed', async () => {
    await expire(2_500);
    const closing = await open();
    const blocker = await database.pool.connect();
    await blocker.query('BEGIN; LOCK TABLE fraiseql_cache.fraiseql_cache');
    const purging = closing.store.purge();
    while (
      (await column(`SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%purge_%'`))
        .length === 0
    );
    const closed = Promise.all([closing.store.close(), closing.store.close()]);
    await blocker.query('COMMIT');
    blocker.release();
    expect(await purging).toEqual({ entries: 1_000, logRows: null });
    await closed;
  });

  it('and whatever else is under way is waited for when the pool is closed', async () => {
    const closing = await open();
    const statements: Promise<unknown>[] = [
      closing.store.stats(),
      closing.store.audit(),
      closing.store.stats(),
      closing.store.delete(['k']),
    ];
    // One is waiting for a connection of the pool still.
    for (let n = 0; n < 4; n++) statements.push(closing.store.stats());
    await new Promise(process.nextTick);
    await closing.store.close();
    expect((await Promise.allSettled(statements)).map(({ status }) => status)).toEqual(Array(8).fill('fulfilled'));
    await expect(closing.store.stats()).rejects.toThrow('the cache is closed');
  });

  it('leaves numbers that add up', async () => {
    await one.cache.set('alive', 'x'.repeat(1_000));
    await expire(4);
    const stats = await one.cache.getStats();
    expect(stats).toMatchObject({ totalEntries: 5, expiredEntries: 4 });
    const size = await column<string>(`SELECT pg_total_relation_size('fraiseql_cache.fraiseql_cache')`);
    expect(stats.tableSizeBytes).toBe(Number(size[0]));
    expect(stats.logSizeBytes).toBeGreaterThan(0);
    await one.cache.purge();
    expect(await one.cache.getStats()).toMatchObject({ totalEntries: 1, expiredEntries: 0 });
  });

  it('can be followed by a VACUUM of both tables', async () => {
    await one.store.vacuum();
    const tables = await column(
      `SELECT relname FROM pg_stat_user_tables WHERE last_vacuum IS NOT NULL AND last_analyze IS NOT NULL ORDER BY 1`,
    );
    expect(tables).toEqual(['fraiseql_cache', 'log']);
  });
});

describe('compaction of the log', () => {
  it('keeps the newest row of a tag, and marks it for standing for others', async () => {
    await touch('often');
    await touch('often');
    const last = await touch('often');
    const once = await touch('once');
    await seenByAll(once);
    expect(await compact()).toEqual(['2']);
    expect(await rowsOf('often')).toEqual([`${last}+`]);
    expect(await rowsOf('once')).toEqual([String(once)]);
    expect(await compact()).toEqual(['0']);
    const later = await touch('often');
    await seenByAll(later);
    await compact();
    expect(await rowsOf('often')).toEqual([`${later}+`]);
  });

  it('leaves alone what a snapshot may not see yet', async () => {
    const before = await touch('tag');
    await seenByAll(before);
    const slow = await begin('other');
    const after = await touch('tag');
    expect(await compact()).toEqual(['0']);
    expect(await rowsOf('tag')).toEqual([String(before), String(after)]);
    await slow.commit();
    await seenByAll(after);
    expect(await compact()).toEqual(['1']);
    expect(await rowsOf('tag')).toEqual([`${after}+`]);
  });

  /** A slow writer and a quick one, both begun before a fence at which only the quick one has committed. */
  async function fencedBetween(keep: (fence: Fence) => Promise<void>): Promise<void> {
    const slow = await begin('tag');
    const quick = await touch('tag');
    const fence = await one.cache.fence();
    expect(fence.open).toContain(slow.xid);
    expect(fence.hi).toBeGreaterThan(quick);
    await keep(fence);
    await slow.commit();
    await seenByAll(quick);
    expect(await compact()).toEqual(['1']);
    expect(await rowsOf('tag')).toEqual([`${quick}+`]);
  }

  it('voids by the mark what an open transaction, whose row is gone, has made void', async () => {
    await fencedBetween(async (fence) => {
      expect(await one.cache.set('k', 'old', { tags: ['tag'], fence })).toBe(true);
      expect(await one.cache.exists('k')).toBe(true);
    });
    // One process has listened all the time, the other must have it proved by the log.
    expect(await one.cache.exists('k')).toBe(false);
    expect(await (await open()).cache.exists('k')).toBe(false);
  });

  it('voids nothing by the mark that was fenced after it', async () => {
    await fencedBetween(async () => undefined);
    await one.cache.set('k', 'new', { tags: ['tag'], fence: await one.cache.fence() });
    expect(await one.cache.exists('k')).toBe(true);
    expect(await (await open()).cache.exists('k')).toBe(true);
  });

  it('never removes rows but by DELETE, so that an older snapshot still sees them', async () => {
    const last = (await touch('tag'), await touch('tag'));
    await seenByAll(last);
    const reader = await database.pool.connect();
    await reader.query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
    expect(await column('SELECT fraiseql_cache.compact()')).toEqual(['1']);
    expect(await column(`SELECT count(*)::int FROM fraiseql_cache.log WHERE tag = '@tag'`, [], reader)).toEqual([2]);
    await reader.query('COMMIT');
    reader.release();
  });
});

describe('the horizon', () => {
  /** What the compactor does so many seconds from now. Returns how many rows of the log it forgot. */
  const advance = async (seconds: number): Promise<number> =>
    Number(
      (
        await column(`SELECT fraiseql_cache.advance_horizon(clock_timestamp() + make_interval(secs => $1))`, [seconds])
      )[0],
    );
  const horizon = async (): Promise<number> =>
    Number((await column('SELECT horizon FROM fraiseql_cache.incarnation'))[0]);

  const keep = async (key: string): Promise<void> => {
    await one.cache.getOrSet(key, async () => 1, { untracked: true });
    await one.cache.drain();
  };

  it('moves up to what was the oldest transaction one longest life ago', async () => {
    await keep('old');
    const before = await horizon();
    const forgotten = await touch('tag');
    await seenByAll(forgotten);
    await advance(0);
    const kept = await touch('tag');
    await keep('new');
    expect(await advance(MAX_TTL - 1)).toBe(0);
    expect(await horizon()).toBe(before);
    expect(await advance(MAX_TTL + 1)).toBe(1);
    expect(await horizon()).toBeGreaterThan(forgotten);
    expect(await horizon()).toBeLessThanOrEqual(kept);
    expect(await rowsOf('tag')).toEqual([String(kept)]);

    for (const { cache } of [one, await open()]) {
      expect(await cache.exists('old')).toBe(false);
      expect(await cache.exists('new')).toBe(true);
    }
  });

  it('follows the longest life of all caches in the database', async () => {
    await openCache(database, { tableName: 'longer', maxTtl: 10 * MAX_TTL });
    const before = await horizon();
    await seenByAll(await touch('tag'));
    await advance(0);
    await advance(MAX_TTL + 1);
    expect(await horizon()).toBe(before);
    await advance(10 * MAX_TTL + 1);
    expect(await horizon()).toBeGreaterThan(before);
  });

  it('never goes back, and does not pile up samples', async () => {
    for (let age = 0; age <= 10; age++) {
      await seenByAll(await touch('tag'));
      const before = await horizon();
      await advance(age * MAX_TTL);
      expect(await horizon()).toBeGreaterThanOrEqual(before);
    }
    expect((await column('SELECT at FROM fraiseql_cache.horizon_sample')).length).toBeLessThan(4);
  });

  it('voids what a process remembers that slept beyond it', async () => {
    const sleeper = await open();
    await sleeper.cache.getOrSet('k', async () => 'old', { tags: ['tag'] });
    await sleeper.cache.drain();
    expect(await sleeper.cache.exists('k')).toBe(true);
    const fence = await sleeper.cache.fence();
    await seenByAll(await touch('tag'));
    await advance(0);
    expect(await advance(MAX_TTL + 1)).toBe(1);
    expect(await rowsOf('tag')).toEqual([]);

    expect(await sleeper.cache.getOrSet('k', async () => 'new', { tags: ['tag'] })).toBe('new');
    expect(await sleeper.cache.set('late', 1, { tags: ['tag'], fence })).toBe(false);
    await sleeper.cache.drain();
    expect(await sleeper.cache.get('k')).toBe('new');
  });
});

describe('the schedule of an application', () => {
  const EVERY_5_MINUTES = 300_000;
  let purges: number;
  const listen = (event: unknown): void => void ((event as CacheEvent).type === 'purged' && purges++);

  beforeEach(() => {
    purges = 0;
    subscribe(EVENT_CHANNEL, listen);
  });
  afterEach(() => void unsubscribe(EVENT_CHANNEL, listen));

  it.each([
    ['an own timer', false],
    ['the application’s scheduler', true],
  ])('is kept by %s: once, and until the end', async (_, scheduled) => {
    const set = jest.spyOn(globalThis, 'setInterval');
    const clear = jest.spyOn(globalThis, 'clearInterval');
    const { app } = await startApplication(
      { connection: database.url, maxTtl: MAX_TTL, purgeInterval: undefined },
      scheduled ? [ScheduleModule.forRoot()] : [],
    );
    const timers = set.mock.calls.flatMap(([, ms], call) => (ms === EVERY_5_MINUTES ? [call] : []));
    expect(timers).toHaveLength(1);
    const timer = set.mock.results[timers[0]!]!.value as NodeJS.Timeout;
    if (scheduled) {
      const registry = app.get(SchedulerRegistry);
      expect(registry.getIntervals()).toEqual(['nestjs-result-cache:purge']);
      expect(registry.getInterval('nestjs-result-cache:purge')).toBe(timer);
    }
    // It keeps no process alive.
    expect(timer.hasRef()).toBe(false);

    await expire(2);
    const tick = set.mock.calls[timers[0]!]![0];
    tick();
    tick();
    await app.get(CacheLifecycle).purge();
    expect(purges).toBe(1);
    expect(await column('SELECT FROM fraiseql_cache.fraiseql_cache')).toEqual([]);
    await closeApplications();
    expect(clear).toHaveBeenCalledWith(timer);
  });

  it('is not kept where it is turned off', async () => {
    const set = jest.spyOn(globalThis, 'setInterval');
    await startApplication({ connection: database.url, purgeInterval: false, maxTtl: MAX_TTL });
    expect(set.mock.calls.filter(([, ms]) => ms === EVERY_5_MINUTES)).toEqual([]);
  });

  it('lets a purge under way end before the application does', async () => {
    const application = await startApplication({ connection: database.url, purgeInterval: '1h', maxTtl: MAX_TTL });
    await expire(1_500);
    const { app, warnings } = application;
    void app.get(CacheLifecycle).purge();
    await closeApplications();
    expect(purges).toBe(1);
    expect(warnings).toEqual([]);
  });
});
