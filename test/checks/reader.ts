import { once } from 'node:events';
import pg from 'pg';
import { subscribe } from 'node:diagnostics_channel';
import {
  EVENT_CHANNEL,
  PostgresCache,
  ResultCache,
  type CacheEvent,
  type EntryOptions,
  type Freshness,
} from 'nestjs-result-cache';
import { now, ReadLog, verify, type Violation, type Write } from './history.js';
import { mutantNamed } from './mutants.js';
import { Random, Zipf } from './random.js';
import { REGISTERS, TENANTS, tenantOf, WATCH } from './registers.js';

/** What the parent asks of one reading process. */
export interface ReaderTask {
  url: string;
  process: number;
  sessions: number;
  seed: number;
  /** 0 for strict. */
  boundMs: number;
  mutant?: string;
}

/** What it answers. */
export interface ReaderReport {
  reads: number;
  singles: { reads: number; hits: number };
  tiers: Record<string, number>;
  computed: number;
  errors: string[];
  violations: Violation[];
}

interface Row {
  id: number;
  a: string;
  b: string;
}

const ALL = 1_000_000;
const NESTED = 2_000_000;
const LIST = 3_000_000;

/** Many sessions of one process, reading registers through the cache and noting what they get. */
class Reader {
  private readonly pool: pg.Pool;
  private readonly store: PostgresCache;
  private readonly cache: ResultCache;
  private readonly log = new ReadLog();
  private readonly zipf = new Zipf(REGISTERS);
  private readonly singles = { reads: 0, hits: 0 };
  private readonly errors: string[] = [];
  /** Hits by tier, as the cache reports each. */
  private readonly tiers: Record<string, number> = {};
  private computed = 0;
  private stopped = false;

  constructor(private readonly task: ReaderTask) {
    this.pool = new pg.Pool({ connectionString: task.url, max: 8 });
    this.store = new PostgresCache({ connection: task.url, watch: WATCH });
    const freshness: Freshness = task.boundMs === 0 ? 'strict' : { maxStaleness: `${task.boundMs}ms` };
    this.cache = new ResultCache({ store: this.store, freshness, memory: { maxEntries: 600, ttl: '10s' } });
  }

  async run(): Promise<void> {
    subscribe(EVENT_CHANNEL, (message) => {
      const event = message as CacheEvent;
      if (event.type === 'hit') this.tiers[event.tier] = (this.tiers[event.tier] ?? 0) + 1;
      else if (event.type === 'error' && this.errors.length < 100)
        this.errors.push(`${event.operation}: ${event.error.message}`);
    });
    await this.store.initialize();
    // Another process's maintenance runs against everybody's reads.
    const purging = setInterval(
      () => void this.cache.purge().catch((error: Error) => this.errors.push(`purge: ${error.message}`)),
      700,
    );
    const sessions = Array.from({ length: this.task.sessions }, (_, index) => this.session(index));
    await Promise.all(sessions);
    clearInterval(purging);
    await this.cache.drain();
  }

  stop(): void {
    this.stopped = true;
  }

  async report(writes: readonly Write[]): Promise<ReaderReport> {
    const stats = this.cache.counters();
    const violations = verify(this.log, writes, this.task.boundMs);
    this.cache.stop();
    await this.store.close();
    await this.pool.end();
    const { memory = 0, postgres = 0 } = this.tiers;
    return {
      reads: this.log.length,
      singles: this.singles,
      tiers: { memory, postgres, computed: this.computed, joined: stats.joined, bypassed: stats.bypassed },
      computed: this.computed,
      errors: this.errors.slice(0, 5),
      violations,
    };
  }

  private async session(index: number): Promise<void> {
    const random = new Random(this.task.seed * 1_000 + this.task.process * 100 + index);
    const session = this.task.process * 1_000 + index;
    while (!this.stopped) {
      try {
        await this.read(session, random);
      } catch (error) {
        if (this.errors.length < 100) this.errors.push((error as Error).message);
      }
    }
  }

  private async read(session: number, random: Random): Promise<void> {
    const kind = random.next();
    const began = now();
    if (kind < 0.78) {
      const register = this.zipf.pick(random);
      let missed = false;
      const rows = await this.single(register, () => (missed = true));
      this.singles.reads++;
      if (!missed) this.singles.hits++;
      this.note(session, register, rows, began);
    } else if (kind < 0.98) {
      const tenant = tenantOf(random.below(TENANTS));
      const options: EntryOptions = {
        rows: [
          ['reg_a', { tenant_id: tenant }],
          ['reg_b', { tenant_id: tenant }],
        ],
        ttl: 60,
      };
      const rows = await this.cache.getOrSet(`list:${tenant}`, () => this.query('a.tenant_id = $1', tenant), options);
      this.note(session, LIST + Number(tenant.slice(1)), rows, began);
    } else if (kind < 0.99) {
      const rows = await this.cache.getOrSet('all', () => this.query('a.id < $1', 5), {
        domains: ['reg_a', 'reg_b'],
        ttl: 60,
      });
      this.note(session, ALL, rows, began);
    } else {
      // Computed only from other cached values: what they depend on, it depends on.
      const first = random.below(20);
      const rows = await this.cache.getOrSet(
        `nested:${first}`,
        async () => (await Promise.all([first, first + 1, first + 2].map((register) => this.single(register)))).flat(),
        { untracked: true, ttl: 60 },
      );
      this.note(session, NESTED + first, rows, began);
    }
  }

  private single(register: number, onCompute?: () => void): Promise<Row[]> {
    return this.cache.getOrSet(
      `one:${register}`,
      () => {
        onCompute?.();
        return this.query('a.id = $1', register);
      },
      {
        rows: [
          ['reg_a', { id: register }],
          ['reg_b', { id: register }],
        ],
        ttl: 60,
      },
    );
  }

  /** Both tables in one statement, hence in one snapshot. */
  private async query(condition: string, parameter: unknown): Promise<Row[]> {
    this.computed++;
    const { rows } = await this.pool.query<Row>(
      `SELECT a.id, a.v AS a, b.v AS b FROM reg_a a JOIN reg_b b USING (id) WHERE ${condition} ORDER BY a.id`,
      [parameter],
    );
    return rows;
  }

  private note(session: number, key: number, rows: readonly Row[], began: number): void {
    const ended = now();
    for (const { id, a, b } of rows)
      this.log.add({ session, key, register: id, a: Number(a), b: Number(b), began, ended });
  }
}

/** The parent's three messages in turn: the task, "stop", and everything that was written. */
async function main(): Promise<void> {
  const next = async (): Promise<unknown> => (await once(process, 'message'))[0];
  const task = (await next()) as ReaderTask;
  mutantNamed(task.mutant)?.apply?.();
  const reader = new Reader(task);
  const stop = next();
  const done = reader.run();
  await stop;
  reader.stop();
  const writes = next();
  await done;
  process.send!('stopped');
  const report = await reader.report((await writes) as Write[]);
  process.send!(report, () => process.exit(0));
}

await main();
