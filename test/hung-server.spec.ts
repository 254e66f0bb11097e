import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { startServer, type EmbeddedServer } from '@workspace/embedded-server';
import { Registry } from 'prom-client';
import { PrometheusCacheMetrics } from 'nestjs-result-cache/metrics';
import { type CacheModuleOptions, type PostgresCache } from 'nestjs-result-cache';
import { closeApplications, startApplication, type TestApplication } from './support/application.js';
import { closeCaches, openCache } from './support/caches.js';
import { createDatabase, type TestDatabase } from './support/database.js';

/** A server of this spec's own, because all its processes are stopped. */
let server: EmbeddedServer;
let database: TestDatabase;
let isHung = false;
const watch = [{ table: 'users', domain: 'user' }];
const POOL_SIZE = 3;

beforeAll(async () => {
  server = await startServer();
});

afterAll(() => server.stop());

beforeEach(async () => {
  database = await createDatabase({ server: server.url() });
  await database.pool.query('CREATE TABLE users (id int PRIMARY KEY)');
});

afterEach(async () => {
  if (isHung) await resume();
  await closeApplications();
  await closeCaches();
  jest.restoreAllMocks();
  await database.drop();
});

async function hang(): Promise<void> {
  isHung = true;
  await server.hang();
}

async function resume(): Promise<void> {
  isHung = false;
  await server.resume();
}

interface Started extends TestApplication {
  store: PostgresCache;
}

/** Limits short enough for a test; that nobody waits for longer is told by turns of the event loop, not by a clock. */
async function start(options: Partial<CacheModuleOptions> = {}): Promise<Started> {
  const application = await startApplication({
    connection: database.url,
    watch,
    poolSize: POOL_SIZE,
    timeout: 50,
    breaker: { retryAfter: '100ms', maxRetryAfter: '200ms' },
    shutdownTimeout: '100ms',
    ...options,
  });
  return { ...application, store: application.cache.engine.store as PostgresCache };
}

const state = (store: PostgresCache): string => store.breaker.state;

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise(setImmediate);
}

/** Whether it has ended when the event loop has gone round a few times: it waited for neither a timer nor a server. */
async function endsAtOnce(work: Promise<unknown>): Promise<boolean> {
  let ended = false;
  const end = (): void => void (ended = true);
  work.then(end, end);
  for (let turn = 0; turn < 10 && !ended; turn++) await new Promise(setImmediate);
  return ended;
}

/** Connections of the cache, as the server counts them. */
async function connections(): Promise<number> {
  const { rows } = await database.pool.query<{ count: number }>(
    `SELECT count(*)::int FROM pg_stat_activity WHERE application_name = 'nestjs-result-cache' AND datname = current_database()`,
  );
  return rows[0]!.count;
}

/** Until callers are turned away, and beyond the first probe. */
async function untilOpen({ names, store }: Started): Promise<void> {
  await until(async () => (await names.names(), state(store) !== 'closed'));
}

describe('a server that hangs', () => {
  it('fails no call, and lets nobody wait once the breaker is open', async () => {
    const application = await start();
    const { names, cached, store } = application;
    await cached();
    await hang();
    const bare = names.calls;
    await untilOpen(application);
    expect(names.calls).toBeGreaterThan(bare);
    for (let call = 0; call < 50; call++) {
      expect(await endsAtOnce(names.names())).toBe(true);
      expect(await endsAtOnce(names.rename())).toBe(true);
      // Over several probes.
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    expect(state(store)).not.toBe('closed');
    await resume();
    await cached();
    expect(store.breaker).toEqual({ state: 'closed', openings: 1 });
  });

  it('never gets more connections than the pool has', async () => {
    const application = await start();
    await application.cached();
    await hang();
    await untilOpen(application);
    const calls: Promise<unknown>[] = [];
    for (let call = 0; call < 200; call++) {
      calls.push(
        application.names.names(),
        application.cache.getOrSet(`k${call}`, async () => call, { untracked: true }),
      );
      if (call % 20 === 0) await new Promise((resolve) => setTimeout(resolve, 20));
    }
    await Promise.all(calls);
    await resume();
    await application.cached();
    // What was given up is seen to be gone as soon as the server looks.
    await until(async () => (await connections()) <= POOL_SIZE);
    for (let round = 0; round < 20; round++) {
      await Promise.all(Array.from({ length: 50 }, () => application.names.names()));
      expect(await connections()).toBeLessThanOrEqual(POOL_SIZE);
    }
  });

  it('is given the invalidations it is owed, which no call waited for', async () => {
    const application = await start();
    const { names, cached, cache } = application;
    await cached();
    const other = await openCache(database, { watch });
    await other.cache.getOrSet('k', async () => 1, { domains: ['user'] });
    await other.cache.drain();
    await hang();
    expect(await names.rename()).toBe('done');
    await untilOpen(application);
    expect(await endsAtOnce(cache.invalidateTags('prices'))).toBe(true);
    await resume();
    const late = await openCache(database, { watch });
    await until(async () => !(await late.cache.exists('k')));
    await cached();
  });

  it('does not keep an application from ending, whatever is under way', async () => {
    const application = await start({ purgeInterval: false });
    const { app, names, cache, cached, store } = application;
    await cached();
    let go!: () => void;
    const halted = new Promise<void>((resolve) => (go = resolve));
    let computing!: () => void;
    const begun = new Promise<void>((resolve) => (computing = resolve));
    const value = cache.getOrSet('filled', () => (computing(), halted.then(() => 1)), { untracked: true });
    // It has its fence, so there will be a fill.
    await begun;
    await hang();
    go();
    expect(await value).toBe(1);
    const asked = names.names();
    await app.close();
    await asked;
    await expect(store.exchange({ since: null, keys: [] })).rejects.toThrow('closed');
  });

  it('does not keep one from ending that is idle, and whose connections it does not close', async () => {
    const { app, cached } = await start();
    await cached();
    await hang();
    await app.close();
  });

  it('is told by metrics and statistics', async () => {
    const application = await start();
    const { cache, cached } = application;
    const registry = new Registry();
    const metrics = new PrometheusCacheMetrics({ registry, caches: [cache.engine], timeout: 0.05 });
    metrics.subscribe();
    try {
      const shown = async (): Promise<string[]> =>
        (await registry.metrics()).split('\n').filter((line) => /^fraiseql_cache_breaker_.* [1-9]/.test(line));
      await cached();
      expect(await shown()).toEqual(['fraiseql_cache_breaker_state{cache="default",state="closed"} 1']);
      expect((await cache.engine.getStats()).breaker).toEqual({ state: 'closed', openings: 0 });
      await hang();
      await untilOpen(application);
      expect(await shown()).toEqual([
        expect.stringMatching(/state="(open|half-open)"\} 1/),
        'fraiseql_cache_breaker_openings_total{cache="default"} 1',
      ]);
    } finally {
      metrics.unsubscribe();
    }
  });
});
