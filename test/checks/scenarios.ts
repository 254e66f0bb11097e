import assert from 'node:assert/strict';
import pg from 'pg';
import {
  PostgresCache,
  ResultCache,
  transactions,
  type CacheStore,
  type ResultCacheOptions,
} from 'nestjs-result-cache';
import { type EmbeddedServer } from '@workspace/embedded-server';
import { Session } from '../../libs/result-cache/src/core/session.js';
import { faultScenarios } from './fault-scenarios.js';
import { GatedStore } from './gated-store.js';
import { leaseScenarios } from './lease-scenarios.js';
import { staleScenarios } from './stale-scenarios.js';
import { createRegisters, WATCH } from './registers.js';

/** A cache as one process has it. */
interface Process {
  store: CacheStore & GatedStore;
  cache: ResultCache;
  session: Session;
}

/** A database with two watched tables, and as many processes on it as a scenario opens. */
export class Stage {
  private readonly opened: PostgresCache[] = [];

  private constructor(
    readonly url: string,
    readonly pool: pg.Pool,
    readonly server: EmbeddedServer | undefined,
  ) {}

  /** @param prepare Runs after the installation: where a mutant changes the database's side. */
  static async set(url: string, server?: EmbeddedServer, prepare?: (pool: pg.Pool) => Promise<void>): Promise<Stage> {
    const pool = new pg.Pool({ connectionString: url, max: 10 });
    pool.on('error', () => undefined);
    await createRegisters(pool);
    const stage = new Stage(url, pool, server);
    await stage.open();
    await prepare?.(pool);
    await stage.settle();
    return stage;
  }

  async open(options: Partial<ResultCacheOptions> = {}): Promise<Process> {
    const postgres = new PostgresCache({ connection: this.url, watch: WATCH });
    this.opened.push(postgres);
    await postgres.initialize();
    const store = GatedStore.over(postgres);
    const cache = new ResultCache({ store, timeout: Infinity, ...options });
    return { store, cache, session: Session.of(store) };
  }

  /** Right after an installation nothing can be stored while an older transaction runs anywhere on the server. */
  async settle(): Promise<void> {
    for (;;) {
      const { rows } = await this.pool.query<{ settled: boolean }>(
        'SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint >= horizon AS settled FROM fraiseql_cache.incarnation',
      );
      if (rows[0]?.settled) return;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  /** The register's value now, past the cache. */
  read = async (id: number): Promise<number> => {
    const { rows } = await this.pool.query<{ v: string }>('SELECT v FROM reg_a WHERE id = $1', [id]);
    return Number(rows[0]!.v);
  };

  async write(id: number, value: number): Promise<void> {
    await this.pool.query('UPDATE reg_a SET v = $2 WHERE id = $1', [id, value]);
  }

  async close(): Promise<void> {
    await Promise.all(this.opened.map((store) => store.close()));
    await this.pool.end();
  }
}

const DEPENDS = { domains: ['reg_a'], ttl: 60 };

export interface Scenario {
  name: string;
  /** Needs a server of its own, which it kills. */
  crashes?: boolean;
  run(stage: Stage): Promise<void>;
}

/** Orders of events that break one rule each where it is not kept. Every read must be what the database says then. */
export const scenarios: readonly Scenario[] = [
  {
    name: 'a write during the computation voids its value, in memory and in the table',
    async run(stage) {
      const one = await stage.open();
      const other = await stage.open();
      // Once to learn the tags, so that the value could enter memory at once.
      await one.cache.getOrSet('learn', () => stage.read(0), DEPENDS);
      await one.cache.drain();
      const policy = one.cache.policy(DEPENDS);
      for (const key of ['learned', 'k'])
        await one.cache.getOrSet(
          key,
          async () => {
            const value = await stage.read(1);
            await stage.write(1, value + 1);
            return value;
          },
          policy,
        );
      await one.cache.drain();
      for (const { cache } of [one, other])
        assert.equal(await cache.getOrSet('k', () => stage.read(1), DEPENDS), await stage.read(1));
    },
  },
  {
    name: 'what was told while a value was computed keeps it out of memory',
    async run(stage) {
      const { cache } = await stage.open();
      const policy = cache.policy(DEPENDS);
      await cache.getOrSet('warm', () => stage.read(2), policy);
      await cache.drain();
      await cache.getOrSet(
        'k',
        async () => {
          const value = await stage.read(2);
          await stage.write(2, value + 1);
          // Another read of this process is told of the write before the value is ready.
          await cache.fence();
          return value;
        },
        policy,
      );
      await cache.drain();
      assert.equal(await cache.getOrSet('k', () => stage.read(2), policy), await stage.read(2));
    },
  },
  {
    name: 'a caller that comes after a write does not join the computation from before it',
    async run(stage) {
      const { cache } = await stage.open();
      const policy = cache.policy(DEPENDS);
      await cache.getOrSet('warm', () => stage.read(3), policy);
      await cache.drain();
      let go!: () => void;
      let hasRead!: () => void;
      const gate = new Promise<void>((resolve) => (go = resolve));
      const read = new Promise<void>((resolve) => (hasRead = resolve));
      const early = cache.getOrSet(
        'k',
        async () => {
          const value = await stage.read(3);
          hasRead();
          await gate;
          return value;
        },
        policy,
      );
      await read;
      await stage.write(3, 1);
      const late = cache.getOrSet('k', () => stage.read(3), policy);
      await cache.fence();
      await cache.fence();
      go();
      assert.equal(await late, 1);
      assert.equal(await early, 0);
    },
  },
  {
    name: 'compaction does not hide a transaction that a fence lists as open',
    async run(stage) {
      const { cache } = await stage.open();
      const slow = await stage.pool.connect();
      try {
        await slow.query('BEGIN');
        await slow.query('UPDATE reg_a SET v = 7 WHERE id = 4');
        // A later transaction of the same tag, visible already: it will be the newest.
        await stage.write(5, 1);
        await cache.getOrSet('k', () => stage.read(4), DEPENDS);
        await cache.drain();
        await slow.query('COMMIT');
      } finally {
        slow.release();
      }
      await stage.pool.query('SELECT fraiseql_cache.compact_log()');
      const late = await stage.open();
      assert.equal(await cache.getOrSet('k', () => stage.read(4), DEPENDS), 7);
      assert.equal(await late.cache.getOrSet('k', () => stage.read(4), DEPENDS), 7);
    },
  },
  {
    name: 'nothing is stored from inside a transaction of one’s own',
    async run(stage) {
      const one = await stage.open();
      const other = await stage.open();
      const client = await stage.pool.connect();
      const stop = transactions.watch(() => transactions.open([client]));
      try {
        await client.query('BEGIN');
        await client.query('UPDATE reg_a SET v = 99 WHERE id = 6');
        const own = async (): Promise<number> =>
          Number((await client.query<{ v: string }>('SELECT v FROM reg_a WHERE id = 6')).rows[0]!.v);
        assert.equal(await one.cache.getOrSet('k', own, DEPENDS), 99);
        await one.cache.drain();
        await client.query('ROLLBACK');
      } finally {
        stop();
        client.release();
      }
      for (const { cache } of [one, other]) assert.equal(await cache.getOrSet('k', () => stage.read(6), DEPENDS), 0);
    },
  },
  {
    name: 'a new incarnation voids everything',
    async run(stage) {
      const one = await stage.open();
      await one.cache.getOrSet('k', () => stage.read(7), DEPENDS);
      await one.cache.drain();
      // What a crash does to the log: it is gone, and with it the touch that comes before anybody looks again.
      await stage.write(7, 1);
      await stage.pool.query('TRUNCATE fraiseql_cache.log, fraiseql_cache.incarnation');
      assert.equal(await one.cache.getOrSet('k', () => stage.read(7), DEPENDS), 1);
      const late = await stage.open();
      assert.equal(await late.cache.getOrSet('k', () => stage.read(7), DEPENDS), 1);
    },
  },
  {
    name: 'a writer that began early and commits late is noticed',
    async run(stage) {
      const { cache } = await stage.open();
      const slow = await stage.pool.connect();
      try {
        await slow.query('BEGIN');
        await slow.query('UPDATE reg_a SET v = 1 WHERE id = 8');
        await stage.write(9, 1);
        await cache.getOrSet('k', () => stage.read(8), DEPENDS);
        await cache.drain();
        await slow.query('COMMIT');
      } finally {
        slow.release();
      }
      assert.equal(await cache.getOrSet('k', () => stage.read(8), DEPENDS), 1);
      const late = await stage.open();
      assert.equal(await late.cache.getOrSet('k', () => stage.read(8), DEPENDS), 1);
    },
  },
  {
    name: 'an exchange sent first and answered last still tells',
    async run(stage) {
      const { store, cache } = await stage.open();
      const policy = cache.policy(DEPENDS);
      await cache.getOrSet('warm', () => stage.read(10), policy);
      await cache.drain();
      const first = store.hold('send');
      const held = cache.fence();
      await first.reached;
      // Sent second, answered first: its value enters memory.
      assert.equal(await cache.getOrSet('k', () => stage.read(10), policy), 0);
      await cache.drain();
      await stage.write(10, 1);
      first.release();
      await held;
      assert.equal(await cache.getOrSet('k', () => stage.read(10), policy), 1);
    },
  },
  {
    name: 'an answer that comes late does not take the base back',
    async run(stage) {
      const { store, cache } = await stage.open();
      const policy = cache.policy(DEPENDS);
      await cache.getOrSet('k', () => stage.read(11), policy);
      await cache.drain();
      const first = store.hold('answer');
      const held = cache.fence();
      await first.reached;
      await stage.write(11, 1);
      assert.equal(await cache.getOrSet('k', () => stage.read(11), policy), 1);
      await cache.drain();
      first.release();
      await held;
      assert.equal(await cache.getOrSet('k', () => stage.read(11), policy), 1);
      await stage.write(11, 2);
      assert.equal(await cache.getOrSet('k', () => stage.read(11), policy), 2);
    },
  },
  {
    name: 'a value comes with its proof, not before it',
    async run(stage) {
      const one = await stage.open();
      await one.cache.getOrSet('k', () => stage.read(12), DEPENDS);
      await one.cache.drain();
      await stage.write(12, 1);
      // A process that starts now must have the log prove what is stored.
      const late = await stage.open();
      const proving = late.store.hold('send', ({ prove }) => prove === true);
      const reading = late.cache.getOrSet('k', () => stage.read(12), DEPENDS);
      await proving.reached;
      assert.equal(await one.cache.getOrSet('k', () => stage.read(12), DEPENDS), 1);
      await one.cache.drain();
      proving.release();
      assert.equal(await reading, 1);
    },
  },
  {
    name: 'forgetting what was told raises the floor',
    async run(stage) {
      const { cache, session } = await stage.open({ memory: false });
      (session.touches as unknown as { capacity: number }).capacity = 20;
      const policy = cache.policy({ rows: [['reg_a', { id: 13 }]], ttl: 60 });
      await cache.getOrSet('k', () => stage.read(13), policy);
      await cache.drain();
      // Told of the write, then of so much else that it is forgotten.
      await stage.write(13, 1);
      await cache.fence();
      for (let id = 100; id < 200; id++) {
        await stage.write(id, 1);
        await cache.fence();
      }
      assert.equal(await cache.getOrSet('k', () => stage.read(13), policy), 1);
    },
  },
  {
    name: 'memory forgets with what was told, too',
    async run(stage) {
      const { cache, session } = await stage.open();
      (session.touches as unknown as { capacity: number }).capacity = 20;
      const policy = cache.policy({ rows: [['reg_a', { id: 14 }]], ttl: 60 });
      await cache.getOrSet('k', () => stage.read(14), policy);
      await cache.drain();
      await cache.getOrSet('k', () => stage.read(14), policy);
      await stage.write(14, 1);
      await cache.fence();
      for (let id = 200; id < 300; id++) {
        await stage.write(id, 1);
        await cache.fence();
      }
      assert.equal(await cache.getOrSet('k', () => stage.read(14), policy), 1);
    },
  },
  {
    name: 'more touches than can be listed void everything',
    async run(stage) {
      const { cache } = await stage.open();
      const policy = cache.policy({ rows: [['reg_a', { id: 15 }]], ttl: 60 });
      await cache.getOrSet('k', () => stage.read(15), policy);
      await cache.drain();
      assert.equal(await cache.getOrSet('k', () => stage.read(15), policy), 0);
      await stage.pool.query(
        `INSERT INTO fraiseql_cache.log (tag, xid) SELECT 'x' || i, pg_current_xact_id()::text::bigint FROM generate_series(1, 1500) i`,
      );
      await stage.write(15, 1);
      assert.equal(await cache.getOrSet('k', () => stage.read(15), policy), 1);
    },
  },
  {
    name: 'bounded reads see one’s own invalidations at once',
    async run(stage) {
      const { cache } = await stage.open({ freshness: { maxStaleness: '1h' } });
      let value = 1;
      const compute = async (): Promise<number> => value;
      const options = { tags: ['mine'], ttl: 60 };
      assert.equal(await cache.getOrSet('k', compute, options), 1);
      await cache.drain();
      value = 2;
      assert.equal(await cache.getOrSet('k', compute, options), 1);
      await cache.invalidate({ free: ['mine'] });
      assert.equal(await cache.getOrSet('k', compute, options), 2);
      await cache.drain();
      // Within a transaction: with its commit.
      const client = await stage.pool.connect();
      try {
        await client.query('BEGIN');
        await cache.invalidate({ free: ['mine'] }, client);
        value = 3;
        assert.equal(await cache.getOrSet('k', compute, options), 2);
        await client.query('COMMIT');
      } finally {
        client.release();
      }
      assert.equal(await cache.getOrSet('k', compute, options), 3);
    },
  },
  {
    name: 'a bounded read does not go back behind what was computed meanwhile',
    async run(stage) {
      const one = await stage.open({ freshness: { maxStaleness: '1h' } });
      const other = await stage.open();
      let go!: () => void;
      let begun!: () => void;
      const gate = new Promise<void>((resolve) => (go = resolve));
      const beginning = new Promise<void>((resolve) => (begun = resolve));
      const slow = async (): Promise<number> => {
        begun();
        await gate;
        return stage.read(21);
      };
      const early = one.cache.getOrSet('k', slow, DEPENDS);
      await beginning;
      // Another process is faster, and what it stored is fetched into memory.
      await other.cache.getOrSet('k', () => stage.read(21), DEPENDS);
      await other.cache.drain();
      assert.equal(await one.cache.getOrSet('k', () => stage.read(21), DEPENDS), 0);
      await stage.write(21, 1);
      go();
      // Newer than anything this process was told of; who has seen it must not be shown less.
      assert.equal(await early, 1);
      assert.equal(await one.cache.getOrSet('k', () => stage.read(21), DEPENDS), 1);
    },
  },
  {
    name: 'bounded reads inside a strict computation are strict',
    async run(stage) {
      const { cache } = await stage.open();
      const bounded = cache.policy({ ...DEPENDS, freshness: { maxStaleness: '1h' } }, 'bounded');
      await cache.getOrSet('inner', () => stage.read(16), bounded);
      await cache.drain();
      await cache.getOrSet('inner', () => stage.read(16), bounded);
      await stage.write(16, 1);
      assert.equal(await cache.getOrSet('inner', () => stage.read(16), bounded), 0);
      assert.equal(
        await cache.getOrSet('outer', () => cache.getOrSet('inner', () => stage.read(16), bounded), DEPENDS),
        1,
      );
    },
  },
  {
    name: 'a transaction prepared before a crash and committed after it is noticed',
    crashes: true,
    async run(stage) {
      const client = await stage.pool.connect();
      await client.query('BEGIN');
      await client.query('UPDATE reg_a SET v = 5 WHERE id = 17');
      await client.query(`PREPARE TRANSACTION 'survivor'`);
      client.release();
      await stage.server!.crash();
      await stage.server!.restart();
      const one = await stage.open();
      assert.equal(await one.cache.getOrSet('k', () => stage.read(17), DEPENDS), 0);
      await one.cache.drain();
      await stage.pool.query(`COMMIT PREPARED 'survivor'`);
      assert.equal(await one.cache.getOrSet('k', () => stage.read(17), DEPENDS), 5);
      const late = await stage.open();
      assert.equal(await late.cache.getOrSet('k', () => stage.read(17), DEPENDS), 5);
    },
  },
  ...leaseScenarios,
  ...staleScenarios,
  ...faultScenarios,
];
