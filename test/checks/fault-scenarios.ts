import assert from 'node:assert/strict';
import { setTimeout } from 'node:timers/promises';
import { PostgresCache } from 'nestjs-result-cache';
import { WATCH } from './registers.js';
import { type Scenario, type Stage } from './scenarios.js';

const A = { domains: ['reg_a'], ttl: 60 };
const B = { domains: ['reg_b'], ttl: 60 };

/** Make everything anew as an application does that watches only some of the tables. */
async function installFor(stage: Stage, tables: readonly string[]): Promise<void> {
  const other = new PostgresCache({
    connection: stage.url,
    watch: WATCH.filter(({ table }) => tables.includes(table)),
  });
  try {
    await other.initialize();
  } finally {
    await other.close();
  }
}

/** Orders of events in which the database was lost, replaced or did not answer. */
export const faultScenarios: readonly Scenario[] = [
  {
    name: 'nobody joins a computation across a commit whose log a crash lost',
    crashes: true,
    async run(stage) {
      await stage.pool.query(`BEGIN; UPDATE reg_a SET v = 5 WHERE id = 17; PREPARE TRANSACTION 'lost its log'`);
      await stage.server!.crash();
      await stage.server!.restart();
      const { cache } = await stage.open();
      let go!: () => void;
      let hasRead!: () => void;
      const gate = new Promise<void>((resolve) => (go = resolve));
      const read = new Promise<void>((resolve) => (hasRead = resolve));
      const compute = async (): Promise<number> => {
        const value = await stage.read(17);
        hasRead();
        await gate;
        return value;
      };
      const early = cache.getOrSet('k', compute, A);
      await read;
      await stage.pool.query(`COMMIT PREPARED 'lost its log'`);
      const late = cache.getOrSet('k', () => stage.read(17), A);
      await cache.fence();
      await cache.fence();
      go();
      assert.equal(await early, 0);
      assert.equal(await late, 5);
    },
  },
  {
    name: 'a schema that another application made anew is completed before anything is kept',
    async run(stage) {
      const { cache } = await stage.open();
      assert.equal(await cache.getOrSet('k', () => stage.read(18), A), 0);
      await cache.drain();
      await stage.pool.query('DROP SCHEMA fraiseql_cache CASCADE');
      await installFor(stage, ['reg_b']);
      for (let value = 0; value < 3; value++) {
        assert.equal(await cache.getOrSet('k', () => stage.read(18), A), value);
        await cache.drain();
        await stage.write(18, value + 1);
      }
    },
  },
  {
    name: 'nothing is kept while the triggers of a schema made anew are still missing',
    async run(stage) {
      const { cache } = await stage.open({ timeout: 50 });
      const read = async (): Promise<number> =>
        Number((await stage.pool.query<{ v: string }>('SELECT v FROM reg_b WHERE id = 19')).rows[0]!.v);
      await cache.getOrSet('k', read, B);
      await cache.drain();
      await stage.pool.query('DROP SCHEMA fraiseql_cache CASCADE');
      // Holds up the first table's triggers, and with them the second's.
      const writer = await stage.pool.connect();
      await writer.query('BEGIN; UPDATE reg_a SET v = v WHERE id = 19');
      const installing = installFor(stage, ['reg_a', 'reg_b']);
      try {
        await setTimeout(200);
        for (let value = 0; value < 3; value++) {
          assert.equal(await cache.getOrSet('k', read, B), value);
          await cache.fence().catch(() => undefined);
          await stage.pool.query('UPDATE reg_b SET v = $1 WHERE id = 19', [value + 1]);
        }
      } finally {
        await writer.query('COMMIT');
        writer.release();
        await installing;
      }
    },
  },
  {
    name: 'an answer that nobody waits for any more does no harm',
    async run(stage) {
      const { store, cache } = await stage.open({ timeout: 50 });
      const policy = cache.policy(A);
      const read = (): Promise<number> => cache.getOrSet('k', () => stage.read(20), policy);
      // However busy the machine is: until it is a hit.
      const hits = async (): Promise<boolean> => {
        await read();
        await cache.drain();
        return (await cache.get('k')) !== undefined;
      };
      while (!(await hits()));
      const gate = store.hold('answer');
      // Not answered in time: computed.
      const value = await read();
      await gate.reached;
      await stage.write(20, value + 1);
      while (!(await hits()));
      gate.release();
      await stage.write(20, value + 2);
      assert.equal(await read(), value + 2);
      while (!(await hits()));
      await stage.write(20, value + 3);
      assert.equal(await read(), value + 3);
    },
  },
];
