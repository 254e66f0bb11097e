import assert from 'node:assert/strict';
import { Gate } from './gated-store.js';
import { type Scenario, type Stage } from './scenarios.js';

// So long that who waits for its end is not done in time.
const LEASED = { domains: ['reg_a'], ttl: 60, lease: { ttl: '10m' } };

/** Reads a register, then waits at a gate. */
function slowRead(stage: Stage, id: number): { compute: () => Promise<number>; gate: Gate } {
  const gate = new Gate();
  const compute = async (): Promise<number> => {
    const value = await stage.read(id);
    await gate.pass();
    return value;
  };
  return { compute, gate };
}

async function holder(stage: Stage): Promise<number | undefined> {
  const { rows } = await stage.pool.query<{ number: string }>('SELECT number FROM fraiseql_cache.fill_lease');
  return rows[0] && Number(rows[0].number);
}

/** Orders of events around the lease of one key. */
export const leaseScenarios: readonly Scenario[] = [
  {
    name: 'a caller that comes after a write does not wait for the process that computes from before it',
    async run(stage) {
      const one = await stage.open();
      const other = await stage.open();
      const { compute, gate } = slowRead(stage, 30);
      const early = one.cache.getOrSet('k', compute, LEASED);
      await gate.reached;
      await stage.write(30, 1);
      assert.equal(await other.cache.getOrSet('k', () => stage.read(30), LEASED), 1);
      gate.release();
      assert.equal(await early, 0);
      assert.equal(await one.cache.getOrSet('k', () => stage.read(30), LEASED), 1);
    },
  },
  {
    name: 'a holder whose time was over stores its value, and leaves the lease to the one that took over',
    async run(stage) {
      const one = await stage.open();
      const other = await stage.open();
      const late = slowRead(stage, 31);
      const first = one.cache.getOrSet('k', late.compute, LEASED);
      await late.gate.reached;
      const before = await holder(stage);
      await stage.pool.query('UPDATE fraiseql_cache.fill_lease SET expires_at = clock_timestamp()');
      const next = slowRead(stage, 31);
      const second = other.cache.getOrSet('k', next.compute, LEASED);
      await next.gate.reached;
      const after = await holder(stage);
      assert.ok(before !== undefined && after !== undefined && after > before, 'a later holder has a higher number');

      late.gate.release();
      assert.equal(await first, 0);
      await one.cache.drain();
      assert.equal(await holder(stage), after);
      // A third one is served what was stored, whoever has the lease.
      const third = await stage.open();
      assert.equal(await third.cache.getOrSet('k', () => Promise.reject(new Error('computed anew')), LEASED), 0);

      next.gate.release();
      assert.equal(await second, 0);
      await other.cache.drain();
      assert.equal(await holder(stage), undefined);
    },
  },
];
