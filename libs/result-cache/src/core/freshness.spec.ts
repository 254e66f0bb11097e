import { describe, expect, it } from '@jest/globals';
import { type Fence } from './fence.js';
import { FreshnessProof, moment } from './freshness.js';

const at = (hi: number, incarnation = 'first'): Fence => ({ lo: hi, hi, open: [], incarnation });

describe('the proof of how new memory is', () => {
  const time = { wall: 0, monotonic: 0 };
  const clock = { wall: () => time.wall, monotonic: () => time.monotonic };

  it('waits for a transaction of one’s own, in the incarnation in which it ran', () => {
    const proof = new FreshnessProof(clock);
    proof.renew(moment(clock), at(100));
    expect(proof.holds(50)).toBe(true);
    proof.endWith(120);
    proof.renew(moment(clock), at(110));
    expect(proof.holds(50)).toBe(false);
    // Restored to an earlier state, the server reaches this number in a year perhaps.
    proof.renew(moment(clock), at(80, 'second'));
    expect(proof.holds(50)).toBe(true);
  });

  it('waits for it also if it was the first thing that happened', () => {
    const proof = new FreshnessProof(clock);
    proof.endWith(120);
    proof.renew(moment(clock), at(110));
    expect(proof.holds(50)).toBe(false);
    proof.renew(moment(clock), at(121));
    expect(proof.holds(50)).toBe(true);
  });
});
