import { describe, expect, it } from '@jest/globals';
import { type Fence } from './fence.js';
import { type ExchangeAnswer } from './store.js';
import { TouchMemory } from './touch-memory.js';

const at = (hi: number, incarnation = 'first', lo = hi): Fence => ({ lo, hi, open: [], incarnation });

function told(memory: TouchMemory, fence: Fence, answer: Partial<ExchangeAnswer> = {}): void {
  const request = { since: memory.base, keys: [] };
  memory.apply({ fence, horizon: 0, now: 0, touched: [], rows: [], ...answer }, request, memory.epoch);
}

describe('what a process remembers of the log', () => {
  it('goes on from answer to answer', () => {
    const memory = new TouchMemory();
    told(memory, at(10));
    const { epoch } = memory;
    told(memory, at(10));
    told(memory, at(12));
    expect(memory.epoch).toBe(epoch);
  });

  it.each([
    ['another incarnation', at(20, 'second'), 0],
    ['a horizon beyond the base', at(20), 15],
    ['a server that is behind where it was', at(9), 0],
  ])('is worth nothing after %s', (_, fence, horizon) => {
    const memory = new TouchMemory();
    told(memory, at(10));
    const { epoch, now } = memory;
    told(memory, fence, { horizon });
    expect(memory.epoch).toBe(epoch + 1);
    expect(memory.touchedAfter(now, 'key', [])).toBe(true);
    expect(memory.base).toEqual(fence);
  });
});
