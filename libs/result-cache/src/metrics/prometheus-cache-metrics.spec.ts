import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Counter, Registry } from 'prom-client';
import { CacheConfigurationError, type ResultCache } from 'nestjs-result-cache';
import { PrometheusCacheMetrics, type PrometheusCacheMetricsOptions } from 'nestjs-result-cache/metrics';
import { closeCaches, openCache } from '../../../../test/support/caches.js';
import { createDatabase, type TestDatabase } from '../../../../test/support/database.js';
import { installSettled } from '../../../../test/support/settled.js';
import { events } from '../core/events.js';

let database: TestDatabase;
let cache: ResultCache;
let registry: Registry;
const subscribed: PrometheusCacheMetrics[] = [];

beforeAll(async () => {
  database = await createDatabase();
  await installSettled(database);
  await database.pool.query('CREATE TABLE users (id int PRIMARY KEY)');
});

afterAll(async () => {
  await closeCaches();
  await database.drop();
});

beforeEach(async () => {
  registry = new Registry();
  const name = `cache_${Math.random().toString(36).slice(2)}`;
  ({ cache } = await openCache(
    database,
    { watch: [{ table: 'users', domain: 'user' }], tableName: name },
    { name: 'shop', maxValueBytes: 1_000, memory: false },
  ));
});

afterEach(() => {
  for (const metrics of subscribed.splice(0)) metrics.unsubscribe();
});

function subscribe(options: PrometheusCacheMetricsOptions = {}): PrometheusCacheMetrics {
  const metrics = new PrometheusCacheMetrics({ registry, caches: [cache], ...options });
  metrics.subscribe();
  subscribed.push(metrics);
  return metrics;
}

/** The lines of the exposition that begin so, as a scraper would read them. */
async function scraped(name: string): Promise<string[]> {
  return (await registry.metrics()).split('\n').filter((line) => line.startsWith(name));
}

const compute = async () => 'a value';
const options = { domains: ['user'], view: 'Users.list' };

/** One miss, one hit, one entry. */
async function missAndHit(key = 'k', tenantId?: string): Promise<void> {
  const policy = cache.policy(options);
  await cache.readThrough(key, compute, policy, tenantId);
  await cache.drain();
  await cache.readThrough(key, compute, policy, tenantId);
}

describe('PrometheusCacheMetrics', () => {
  it('counts hits and misses under their names', async () => {
    subscribe();
    await missAndHit();
    await cache.readThrough('k', compute, cache.policy(options));
    expect(await scraped('fraiseql_cache_hits_total')).toEqual([
      'fraiseql_cache_hits_total{cache="shop",view_name="Users.list",tier="postgres"} 2',
    ]);
    expect(await scraped('fraiseql_cache_misses_total')).toEqual([
      'fraiseql_cache_misses_total{cache="shop",view_name="Users.list"} 1',
    ]);
  });

  it('measures the time of asking, in the agreed buckets', async () => {
    subscribe();
    await missAndHit();
    const buckets = (await scraped('fraiseql_cache_get_duration_seconds_bucket')).filter((line) =>
      line.includes('result="hit"'),
    );
    expect(buckets.map((line) => /le="([^"]+)"/.exec(line)![1])).toEqual([
      '0.001',
      '0.005',
      '0.01',
      '0.05',
      '0.1',
      '0.5',
      '1',
      '+Inf',
    ]);
    expect((await scraped('fraiseql_cache_get_duration_seconds_count')).sort()).toEqual([
      'fraiseql_cache_get_duration_seconds_count{cache="shop",result="hit",tier="postgres"} 1',
      'fraiseql_cache_get_duration_seconds_count{cache="shop",result="miss"} 1',
    ]);
    const [sum] = await scraped('fraiseql_cache_get_duration_seconds_sum{cache="shop",result="hit"');
    expect(Number(sum!.split(' ').at(-1))).toBeGreaterThan(0);
    // Seconds, not milliseconds: one read of a local database does not take ten seconds.
    expect(Number(sum!.split(' ').at(-1))).toBeLessThan(10);
  });

  it('reads the number of entries from the store when scraped', async () => {
    subscribe({ maxAge: 0 });
    await missAndHit('one');
    expect(await scraped('fraiseql_cache_entries_total')).toEqual(['fraiseql_cache_entries_total{cache="shop"} 1']);
    await missAndHit('two');
    expect(await scraped('fraiseql_cache_entries_total')).toEqual(['fraiseql_cache_entries_total{cache="shop"} 2']);
    expect(await scraped('fraiseql_cache_up')).toEqual(['fraiseql_cache_up{cache="shop"} 1']);
  });

  it('uses the sizes of an earlier scrape for a few seconds', async () => {
    subscribe();
    await missAndHit('one');
    await scraped('fraiseql_cache_entries_total');
    await missAndHit('two');
    expect(await scraped('fraiseql_cache_entries_total')).toEqual(['fraiseql_cache_entries_total{cache="shop"} 1']);
  });

  it('does not add up scrapes that run at once', async () => {
    subscribe({ maxAge: 0 });
    await missAndHit();
    await Promise.all([registry.metrics(), registry.metrics(), registry.metrics()]);
    expect(await scraped('fraiseql_cache_entries_total')).toEqual(['fraiseql_cache_entries_total{cache="shop"} 1']);
    expect(await scraped('fraiseql_cache_compute_seconds_saved_total')).toHaveLength(1);
  });

  it('counts what else the cache does', async () => {
    subscribe();
    await missAndHit();
    await cache.getOrSet('never', compute, { ...options, ttl: 0 });
    await cache.getOrSet('large', async () => 'x'.repeat(2_000), options);
    await cache.getOrSet('larger', async () => 'x'.repeat(3_000), options);
    await cache.invalidate({ domains: ['user'] });
    const value = async (line: string): Promise<number> =>
      Number((await scraped(`fraiseql_cache_${line} `))[0]?.split(' ').at(-1));
    expect(await value('bypassed_total{cache="shop",view_name="Users.list",reason="ttl"}')).toBe(1);
    expect(await value('unstorable_total{cache="shop"}')).toBe(2);
    expect(await value('stores_total{cache="shop",view_name="Users.list"}')).toBe(1);
    expect(await value('stored_bytes_total{cache="shop",view_name="Users.list"}')).toBe('"a value"'.length);
    expect(await value('invalidations_total{cache="shop"}')).toBe(1);
    expect(await value('computations_total{cache="shop",view_name="Users.list"}')).toBe(3);
    expect(await value('compute_seconds_total{cache="shop",view_name="Users.list"}')).toBeGreaterThan(0);
  });

  it('counts what a purge removes', async () => {
    subscribe();
    await missAndHit();
    const { relation } = (
      await database.pool.query<{ relation: string }>(
        'SELECT relation FROM fraiseql_cache.caches ORDER BY id DESC LIMIT 1',
      )
    ).rows[0]!;
    await database.pool.query(`UPDATE ${relation} SET expires_at = now()`);
    await cache.purge();
    expect(await scraped('fraiseql_cache_purged_entries_total')).toEqual([
      'fraiseql_cache_purged_entries_total{cache="shop"} 1',
    ]);
  });

  it('names tenants only when asked to, and never a key', async () => {
    subscribe();
    subscribe({ prefix: 'by_tenant_', tenantLabel: true });
    await missAndHit('secret-key', 'acme');
    expect(await scraped('by_tenant_hits_total')).toEqual([
      'by_tenant_hits_total{cache="shop",view_name="Users.list",tenant_id="acme",tier="postgres"} 1',
    ]);
    const text = await registry.metrics();
    expect(text.split('\n').filter((line) => line.startsWith('fraiseql_') && line.includes('acme'))).toEqual([]);
    expect(text).not.toContain('secret-key');
  });

  it('puts views and tenants beyond a limit together', async () => {
    subscribe({ maxLabelValues: 2, tenantLabel: true });
    for (const name of ['a', 'b', 'c', 'd'])
      await cache.readThrough(name, compute, cache.policy({ domains: ['user'], view: name }), name);
    expect(await scraped('fraiseql_cache_misses_total')).toEqual([
      'fraiseql_cache_misses_total{cache="shop",view_name="a",tenant_id="a"} 1',
      'fraiseql_cache_misses_total{cache="shop",view_name="b",tenant_id="b"} 1',
      'fraiseql_cache_misses_total{cache="shop",view_name="other",tenant_id="other"} 2',
    ]);
  });

  it('counts once, however many subscribe to one registry, until the last one leaves', async () => {
    const first = subscribe();
    const second = subscribe();
    await missAndHit();
    expect(await scraped('fraiseql_cache_hits_total')).toEqual([expect.stringMatching(/ 1$/)]);
    expect(await scraped('fraiseql_cache_entries_total')).toEqual([expect.stringMatching(/ 1$/)]);
    first.unsubscribe();
    first.unsubscribe();
    await missAndHit('again');
    expect(await scraped('fraiseql_cache_hits_total')).toEqual([expect.stringMatching(/ 2$/)]);
    second.unsubscribe();
    expect(events.hasSubscribers).toBe(false);
    expect(registry.getMetricsAsArray()).toEqual([]);
  });

  it('can begin again', async () => {
    const metrics = subscribe();
    metrics.unsubscribe();
    metrics.subscribe();
    await missAndHit();
    expect(await scraped('fraiseql_cache_hits_total')).toHaveLength(1);
  });

  it('lets no event end the process', async () => {
    subscribe();
    events.publish({ type: 'computed', cache: 'shop', view: 'v', durationMs: -1 });
    events.publish({ type: 'hit', cache: 'shop', view: null });
    // Node throws what a subscriber threw in the next tick.
    await new Promise((resolve) => setImmediate(resolve));
    await missAndHit();
    expect(await scraped('fraiseql_cache_hits_total{cache="shop",view_name="Users.list"')).toHaveLength(1);
  });

  it('refuses what cannot work, and says what to write', () => {
    const wrong = (wrongOptions: object): string => {
      try {
        new PrometheusCacheMetrics({ registry, ...wrongOptions }).subscribe();
      } catch (error) {
        expect(error).toBeInstanceOf(CacheConfigurationError);
        return (error as Error).message;
      }
      return 'accepted';
    };
    expect(wrong({ tenantLable: true })).toContain('tenantLabel');
    expect(wrong({ prefix: 'my-cache.' })).toContain("'fraiseql_cache_'");
    expect(wrong({ registry: {} })).toContain('new Registry()');
    expect(wrong({ maxAge: NaN })).toContain('maxAge: 5');
    expect(wrong({ timeout: 0 })).toContain('timeout: 1');
    expect(wrong({ maxLabelValues: -1 })).toContain('1000');
    subscribe({ prefix: 'one_' });
    expect(wrong({ prefix: 'one_', tenantLabel: true })).toContain('tenantLabel: false');
  });

  it("leaves a registry as it was where one of the names is somebody else's", () => {
    const theirs = new Counter({ name: 'fraiseql_cache_misses_total', help: 'theirs', registers: [registry] });
    const metrics = new PrometheusCacheMetrics({ registry });
    expect(() => metrics.subscribe()).toThrow(/fraiseql_cache_misses_total.*another prefix/);
    expect(registry.getMetricsAsArray()).toEqual([theirs]);
  });

  it('still answers a scrape when the database is gone', async () => {
    const doomed = await createDatabase();
    const { cache: lost } = await openCache(doomed, {}, { name: 'lost' });
    subscribe({ caches: [cache, lost], maxAge: 0 });
    expect(await scraped('fraiseql_cache_up{cache="lost"}')).toEqual(['fraiseql_cache_up{cache="lost"} 1']);
    await doomed.drop();
    await lost.getOrSet('k', compute, { untracked: true, view: 'v' });
    const lines = [
      ...(await scraped('fraiseql_cache_up')),
      ...(await scraped('fraiseql_cache_entries_total')),
      ...(await scraped('fraiseql_cache_errors_total')),
    ];
    expect(lines).toEqual([
      'fraiseql_cache_up{cache="shop"} 1',
      'fraiseql_cache_up{cache="lost"} 0',
      'fraiseql_cache_entries_total{cache="shop"} 0',
      'fraiseql_cache_errors_total{cache="lost",operation="exchange"} 1',
    ]);
  });
});
