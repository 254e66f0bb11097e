import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type CacheStore, ResultCache } from 'nestjs-result-cache';
import { Gate, GatedStore } from './checks/gated-store.js';
import { closeCaches, openCache } from './support/caches.js';
import { createDatabase, type TestDatabase } from './support/database.js';

let database: TestDatabase;
let cache: ResultCache;
let gated: CacheStore & GatedStore;
let gates: Gate[];

beforeEach(async () => {
  database = await createDatabase();
  await database.pool.query('CREATE TABLE users (id int PRIMARY KEY)');
  const opened = await openCache(database, { watch: [{ table: 'users', domain: 'user' }] });
  gated = GatedStore.over(opened.store);
  cache = new ResultCache({ store: gated, timeout: 20 });
  // Knows its domains: what is unavailable from now on is the exchange alone.
  await cache.domainProblem('user');
  gates = [gated.hold('send'), gated.hold('send')];
});

afterEach(async () => {
  for (const gate of gates) gate.release();
  await cache.drain();
  cache.stop();
  await closeCaches();
  await database.drop();
});

const user = { domains: ['user'] };

/** Computations that wait until they are told to go on, and say when they began. */
function slow<T>(result: (call: number) => T): { compute: () => Promise<T>; gate: Gate; calls: () => number } {
  const gate = new Gate();
  let calls = 0;
  const compute = async (): Promise<T> => {
    const call = ++calls;
    await gate.pass();
    return result(call);
  };
  return { compute, gate, calls: () => calls };
}

/** Wait for both; a test that shares what it must not gives up. */
async function calledTwice(calls: () => number): Promise<void> {
  for (const end = Date.now() + 3_000; calls() < 2 && Date.now() < end;) await new Promise(setImmediate);
}

/** Wait until so many callers know that the database does not answer, and compute or have joined. */
async function sentAway(count: number): Promise<void> {
  while (cache.counters().errors < count) await new Promise(setImmediate);
}

const ask = <T>(compute: () => Promise<T>, count = 100): Promise<T>[] =>
  Array.from({ length: count }, () => cache.getOrSet('k', compute, user));

describe('callers of one key while the database does not answer', () => {
  it('share one computation that began after they asked; who comes later has a newer one', async () => {
    const { compute, gate, calls } = slow((call) => ({ call }));
    const early = ask(compute);
    await gate.reached;
    const late = ask(compute);
    await sentAway(200);
    gate.release();
    const values = await Promise.all(early);
    expect(values).toEqual(Array(100).fill({ call: 1 }));
    // Each has an object of his own.
    expect(new Set(values).size).toBe(100);
    expect(await Promise.all(late)).toEqual(Array(100).fill({ call: 2 }));
    expect(calls()).toBe(2);
    expect(cache.counters()).toMatchObject({ bypassed: 2, joined: 198 });
  });

  it('never get what was read before they asked', async () => {
    let database = 0;
    const read = slow(() => 0);
    const compute = async (): Promise<number> => {
      const value = database;
      await read.compute();
      return value;
    };
    const early = ask(compute, 2);
    await read.gate.reached;
    database = 1;
    const late = ask(compute, 2);
    await sentAway(4);
    read.gate.release();
    expect(await Promise.all(early)).toEqual([0, 0]);
    expect(await Promise.all(late)).toEqual([1, 1]);
  });

  it('share its failure too', async () => {
    const { compute, gate, calls } = slow(() => {
      throw new Error('no');
    });
    const all = Promise.allSettled(ask(compute, 10));
    await gate.reached;
    gate.release();
    for (const outcome of await all) expect(outcome).toMatchObject({ status: 'rejected', reason: { message: 'no' } });
    expect(calls()).toBe(1);
  });

  it('each compute what is one caller’s alone', async () => {
    const { compute, gate, calls } = slow((call) => () => call);
    const all = ask(compute, 5);
    await gate.reached;
    gate.release();
    const values = (await Promise.all(all)).map((value) => value());
    expect(new Set(values).size).toBe(5);
    expect(calls()).toBe(5);
  });

  it('do not get what turned out to be no value of their key', async () => {
    const { compute, gate, calls } = slow((call) => {
      if (call === 1) cache.withhold('an argument was changed');
      return call;
    });
    const all = ask(compute, 3);
    await gate.reached;
    gate.release();
    expect((await Promise.all(all)).sort()).toEqual([1, 2, 3]);
    expect(calls()).toBe(3);
  });

  it('compute alone inside another computation, which would not be told what the value depends on', async () => {
    const inner = slow((call) => call);
    const outer = (name: string): Promise<number> =>
      cache.getOrSet(name, () => cache.getOrSet('inner', inner.compute, user), { untracked: true });
    // Both have their fence, and only the inner reads find that nothing answers.
    for (const gate of gates) gate.release();
    await cache.fence();
    await cache.fence();
    gates = [1, 2].map(() => gated.hold('send', ({ keys }) => keys.includes('inner')));
    const all = [outer('one'), outer('two')];
    await calledTwice(inner.calls);
    inner.gate.release();
    expect((await Promise.all(all)).sort()).toEqual([1, 2]);
  });

  it('compute alone under one fence for an operation, which may use what it read before', async () => {
    const { compute, gate, calls } = slow((call) => call);
    const work = (): Promise<number> => cache.getOrSet('k', compute, user);
    const all = [cache.withFence(work), cache.withFence(work)];
    await calledTwice(calls);
    gate.release();
    expect((await Promise.all(all)).sort()).toEqual([1, 2]);
  });
});
