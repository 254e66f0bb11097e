import { describe, expect, it } from '@jest/globals';
import { MemoryTier } from './memory-tier.js';
import { type ExchangeAnswer, type Touch } from './store.js';
import { TouchMemory } from './touch-memory.js';

const time = { now: 0 };
const clock = { wall: () => time.now, monotonic: () => time.now };

/** A memory of touches that has been told, by one exchange after another, what is given. */
function told(...exchanges: Touch[][]): { touches: TouchMemory; tell: (...touched: Touch[]) => void } {
  const touches = new TouchMemory();
  let hi = 100;
  const tell = (...touched: Touch[]): void => {
    hi += 10;
    const fence = { lo: hi, hi, open: [], incarnation: 'one' };
    const answer: ExchangeAnswer = { fence, horizon: 0, now: 0, touched, rows: [] };
    touches.apply(answer, { since: touches.base, keys: [] }, touches.epoch);
  };
  tell();
  for (const touched of exchanges) tell(...touched);
  return { touches, tell };
}

const proofAt = (touches: TouchMemory, ...tags: string[]) => ({
  fence: touches.base!,
  tags,
  expiresAt: 0,
  cachedAt: 0,
  computeMs: 1,
});

describe('the memory tier', () => {
  it('serves an entry until one of its tags is told', () => {
    const { touches, tell } = told();
    const tier = new MemoryTier({ maxEntries: 10, maxBytes: 1_000, ttlMs: 1_000 }, touches, clock);
    tier.keep('k', 1, proofAt(touches, 'user'), 500, 1);
    tell({ tag: 'post', xid: 115, settled: false });
    expect(tier.get('k')?.value).toBe(1);
    tell({ tag: 'user', xid: 125, settled: false });
    expect(tier.get('k')).toBeUndefined();
  });

  it('does not take an entry that was touched since its fence', () => {
    const { touches, tell } = told();
    const proof = proofAt(touches, 'user');
    tell({ tag: 'user', xid: 115, settled: false });
    const tier = new MemoryTier({ maxEntries: 10, maxBytes: 1_000, ttlMs: 1_000 }, touches, clock);
    tier.keep('k', 1, proof, 500, 1);
    expect(tier.has('k')).toBe(false);
  });

  it('hands out copies, and keeps one', () => {
    const { touches } = told();
    const tier = new MemoryTier({ maxEntries: 10, maxBytes: 1_000, ttlMs: 1_000 }, touches, clock);
    const value = { list: [1] };
    tier.keep('k', value, proofAt(touches), 500, 1);
    value.list.push(2);
    (tier.get('k')!.value as typeof value).list.push(3);
    expect(tier.get('k')!.value).toEqual({ list: [1] });
  });

  it('keeps no more entries and bytes than it may, and tells of each that had to go', () => {
    const { touches } = told();
    let evicted = 0;
    const tier = new MemoryTier({ maxEntries: 2, maxBytes: 100, ttlMs: 1_000 }, touches, clock, () => evicted++);
    for (const key of ['a', 'b', 'c']) tier.keep(key, key, proofAt(touches), 500, 1);
    expect([tier.size, evicted, tier.has('a')]).toEqual([2, 1, false]);
    tier.keep('d', 'd', proofAt(touches), 500, 99);
    expect([tier.size, evicted, tier.bytes]).toEqual([1, 3, 100]);
  });

  it('keeps an entry for its TTL at most, and says how long the entry itself may live', () => {
    const { touches } = told();
    const tier = new MemoryTier({ maxEntries: 10, maxBytes: 1_000, ttlMs: 100 }, touches, clock);
    tier.keep('k', 1, proofAt(touches), 500, 1);
    time.now += 99;
    expect(tier.get('k')?.leftMs).toBe(401);
    time.now += 1;
    expect(tier.get('k')).toBeUndefined();
  });
});
