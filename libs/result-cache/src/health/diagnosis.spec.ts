import { describe, expect, it } from '@jest/globals';
import { CacheConfigurationError, NotInstalledError, StoreUnavailableError } from 'nestjs-result-cache';
import { type StoreReading } from '../core/store-probe.js';
import { diagnose } from './diagnosis.js';
import { type CacheHealthOptions, checkHealthOptions } from './health-options.js';

const reads = (hits: number, misses: number) => ({ hits, misses, hitRate: hits / (hits + misses || 1) });
const stored = (expiredEntries = 0, tableSizeBytes = 0, cascadeMs?: number): StoreReading => ({
  ok: true,
  stats: { totalEntries: expiredEntries, expiredEntries, tableSizeBytes, logSizeBytes: 0, cascadeMs },
});
const check = (counters = reads(0, 0), reading = stored(), options: CacheHealthOptions = {}) =>
  diagnose(counters, reading, checkHealthOptions(options));

describe('diagnose', () => {
  it.each([
    ['expired entries', stored(10_000), stored(10_001), '10,001 expired entries'],
    ['table size', stored(0, 1_000_000_000), stored(0, 1_000_000_001), '1,000,000,001 bytes'],
    ['time to cascade', stored(0, 0, 10), stored(0, 0, 10.1), '10.1 ms to cascade, over 10'],
  ])('finds too much beyond the default, not at it: %s', (_, fine, bad, text) => {
    expect(check(reads(0, 0), fine).problems).toEqual([]);
    expect(check(reads(0, 0), bad).problems).toEqual([expect.stringContaining(text)]);
  });

  it.each([
    [0, 99, []],
    [0, 100, [expect.stringContaining('hit rate 0 %, under 50 %')]],
    [49, 51, [expect.stringContaining('hit rate 49 %, under 50 %')]],
    [50, 50, []],
    [0, 0, []],
  ])('judges a hit rate after 100 reads: %i hits, %i misses', (hits, misses, problems) => {
    expect(check(reads(hits, misses)).problems).toEqual(problems);
  });

  it.each([
    [69, 31, 'hit rate 69 %, under 70 %'],
    [70, 30, 'hit rate 70 %, under 80 %'],
    [7_999, 2_001, 'hit rate 79.9 %, under 80 %'],
  ])('says what could be better: %i hits, %i misses', (hits, misses, text) => {
    const { problems, hints } = check(reads(hits, misses));
    expect(problems).toEqual([]);
    expect(hints).toEqual([expect.stringContaining(text)]);
  });

  it('has no hint from 80 % on', () => {
    expect(check(reads(80, 20)).hints).toEqual([]);
  });

  it('goes by the thresholds it is given', () => {
    const options = { maxExpiredEntries: 1, maxTableSizeBytes: 1, minHitRate: 0.9, minReads: 10 };
    expect(check(reads(8, 2), stored(2, 2), options).problems).toHaveLength(3);
    expect(check(reads(0, 0), stored(), { minReads: 0 }).problems).toEqual([]);
  });

  it('tells why the database cannot be used, without what a driver says about hosts and users', () => {
    const refused = Object.assign(new Error('connect ECONNREFUSED 10.0.0.7:5432'), { code: 'ECONNREFUSED' });
    const error = new StoreUnavailableError('10.0.0.7', { cause: refused });
    const { available, problems } = check(reads(0, 0), { ok: false, error });
    expect(available).toBe(false);
    expect(problems).toEqual([expect.stringContaining('ECONNREFUSED')]);
    expect(problems[0]).not.toContain('10.0.0.7');
  });

  it('knows a cache that may not install itself, also behind another error', () => {
    const cause = new NotInstalledError('role app may not create', ['CREATE SCHEMA fraiseql_cache']);
    const error = new StoreUnavailableError('not usable', { cause });
    expect(check(reads(0, 0), { ok: false, error }).problems).toEqual([expect.stringMatching(/^off: /)]);
  });
});

describe('checkHealthOptions', () => {
  it.each([
    [{ maxExpired: 1 }, 'maxExpiredEntries'],
    [{ toString: 1 }, "'toString'"],
    [{ minHitRate: 50 }, 'minHitRate: 0.5'],
    [{ maxTableSizeBytes: '1GB' }, 'maxTableSizeBytes: 1000000000'],
    [{ minReads: NaN }, 'minReads: 100'],
    [{ timeout: 0 }, 'timeout: 1'],
    [{ whenUnavailable: 'up' }, "'degraded' or 'down'"],
  ])('refuses %j', (options, text) => {
    expect(() => checkHealthOptions(options as CacheHealthOptions)).toThrow(CacheConfigurationError);
    expect(() => checkHealthOptions(options as CacheHealthOptions)).toThrow(text);
  });

  it('takes undefined for not given', () => {
    expect(checkHealthOptions({ minHitRate: undefined }).minHitRate).toBe(0.5);
  });
});
