import { beforeEach, describe, expect, it } from '@jest/globals';
import { systemClock } from './clock.js';
import { StoreTimeoutError } from './errors.js';
import { Exchange } from './exchange.js';
import { FreshnessProof } from './freshness.js';
import { type CacheStore, type ExchangeAnswer, type ExchangeRequest } from './store.js';
import { TouchMemory } from './touch-memory.js';

describe('an exchange with a database that hangs', () => {
  let sent: { request: ExchangeRequest; answer: (hi: number, touched?: ExchangeAnswer['touched']) => void }[];
  let awaited: (() => void)[];
  let memory: TouchMemory;
  let proof: FreshnessProof;
  let exchange: Exchange;

  beforeEach(() => {
    sent = [];
    awaited = [];
    memory = new TouchMemory();
    proof = new FreshnessProof(systemClock);
    const store = {
      exchange: (request: ExchangeRequest) =>
        new Promise<ExchangeAnswer>((resolve) => {
          const answer = (hi: number, touched: ExchangeAnswer['touched'] = []): void =>
            resolve({ fence: { lo: hi, hi, open: [], incarnation: 'one' }, horizon: 0, now: 0, touched, rows: [] });
          sent.push({ request, answer });
          awaited.shift()?.();
        }),
    } as Partial<CacheStore> as CacheStore;
    exchange = new Exchange(store, memory, proof, systemClock);
  });

  const nextSent = (): Promise<void> => new Promise((resolve) => awaited.push(resolve));

  /** Ask, and have it answered. */
  async function answered(hi: number): Promise<void> {
    const asked = exchange.ask();
    await nextSent();
    sent.at(-1)!.answer(hi);
    await asked;
  }

  it('sends callers away in time', async () => {
    exchange.answerWithin(5);
    await expect(exchange.ask('k')).rejects.toThrow(StoreTimeoutError);
  });

  it('lets the shortest limit count', async () => {
    exchange.answerWithin(5);
    exchange.answerWithin(600_000);
    await expect(exchange.ask('k')).rejects.toThrow('within 5 ms');
  });

  it('tells the store how long an answer is of use', async () => {
    exchange.answerWithin(5);
    await expect(exchange.ask('k')).rejects.toThrow();
    expect(sent[0]!.request.withinMs).toBe(20);
  });

  it('sends those who come then away at once, and asks again when something comes back', async () => {
    exchange.answerWithin(5);
    await expect(exchange.ask('a')).rejects.toThrow(StoreTimeoutError);
    await expect(exchange.ask('b')).rejects.toThrow(StoreTimeoutError);
    await expect(exchange.ask('c')).rejects.toThrow(StoreTimeoutError);
    expect(sent.map(({ request }) => request.keys)).toEqual([['a'], ['b']]);
    sent[0]!.answer(10);
    await new Promise(setImmediate);
    exchange.ask('d').catch(() => undefined);
    await nextSent();
    expect(sent.at(-1)!.request.keys).toEqual(['d']);
  });

  it('gathers callers while all statements are under way, and sends those away too', async () => {
    exchange.answerWithin(200);
    const first = [exchange.ask('a')];
    await nextSent();
    first.push(exchange.ask('b'));
    await nextSent();
    const late = exchange.ask('c');
    for (const asked of [...first, late]) await expect(asked).rejects.toThrow(StoreTimeoutError);
    expect(sent).toHaveLength(2);
  });

  it('learns from an answer that comes too late, and takes it for no newer than it is', async () => {
    await answered(10);
    exchange.answerWithin(200);
    const number = memory.now;
    await expect(exchange.ask('k')).rejects.toThrow(StoreTimeoutError);
    sent.at(-1)!.answer(12, [{ tag: 'user', xid: 11, settled: false }]);
    await new Promise(setImmediate);
    expect(memory.touchedAfter(number, 'other', ['user'])).toBe(true);
    expect(memory.base!.hi).toBe(12);
    expect(proof.holds(150)).toBe(false);
  });

  it('does not go back to the base of an answer that others have overtaken', async () => {
    await answered(10);
    exchange.answerWithin(200);
    await expect(exchange.ask('k')).rejects.toThrow(StoreTimeoutError);
    const late = sent.at(-1)!;
    await answered(20);
    late.answer(11);
    await new Promise(setImmediate);
    expect(memory.base!.hi).toBe(20);
  });
});
