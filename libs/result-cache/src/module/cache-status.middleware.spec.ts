import { describe, expect, it } from '@jest/globals';
import { type Outcome } from '../core/outcome.js';
import { cacheStatus } from './cache-status.middleware.js';

const hit = (ttlMs: number, cache = 'default'): Outcome => ({
  cache,
  view: 'v',
  status: 'hit',
  tier: 'postgres',
  ttlMs,
});
const miss: Outcome = { cache: 'default', view: 'v', status: 'miss' };
const bypass: Outcome = { cache: 'default', view: 'v', status: 'bypass', reason: 'untracked' };

describe('Cache-Status', () => {
  it.each<[title: string, outcomes: Outcome[], header: string | undefined]>([
    ['no cached read', [], undefined],
    ['a hit, by its shortest life', [hit(9_900), hit(5_999)], 'default; hit; ttl=5; detail="postgres"'],
    ['a miss among hits', [hit(9_000), miss], 'default; fwd=miss; detail="1 of 2 hit from postgres"'],
    ['a miss', [miss], 'default; fwd=miss; detail="0 of 1 hit"'],
    ['a bypass', [bypass], 'default; fwd=bypass; detail="0 of 1 hit"'],
    ['a bypass beside a miss', [bypass, miss], 'default; fwd=miss; detail="0 of 2 hit"'],
    [
      'two caches',
      [hit(1_000), hit(2_000, 'reports')],
      'default; hit; ttl=1; detail="postgres", reports; hit; ttl=2; detail="postgres"',
    ],
    ['a name that is no token', [hit(1_000, 'a "b"\r\nX: y')], '"a \\"b\\"??X: y"; hit; ttl=1; detail="postgres"'],
    ['a name that is not ASCII', [hit(1_000, 'é')], '"?"; hit; ttl=1; detail="postgres"'],
  ])('%s', (_title, outcomes, header) => {
    expect(cacheStatus(outcomes)).toBe(header);
  });
});
