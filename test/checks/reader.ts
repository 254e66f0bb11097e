import pg from 'pg';
import { subscribe } from 'node:diagnostics_channel';
import {
  EVENT_CHANNEL,
  PostgresCache,
  ResultCache,
  type CacheEvent,
  type EntryOptions,
  type Freshness,
  type Tier,
} from 'nestjs-result-cache';
import { during, now, ReadLog, verify, type Timeline, type Violation } from './history.js';
import { mutantNamed } from './mutants.js';
import { Random, Zipf } from './random.js';
import { pause, REGISTERS, TENANTS, tenantOf, WATCH } from './registers.js';

/** What the parent asks of one reading process. */
export interface ReaderTask {
  /** Where computations read. */
  url: string;
  /** Where the cache lives: the same server, perhaps by another way. */
  cacheUrl: string;
  /** Connections of the cache. */
  poolSize: number;
  /** Milliseconds its reads wait for the cache's database. */
  timeout: number;
  process: number;
  sessions: number;
  seed: number;
  /** 0 for strict. */
  boundMs: number;
  mutant?: string;
}

/** What the parent tells a reading process, the task first and `verify` last. */
export type ReaderCommand =
  | { do: 'start'; task: ReaderTask }
  /** Keep the event loop busy. */
  | { do: 'stall'; ms: number }
  /** Keep a connection of the cache's pool busy. */
  | { do: 'occupy'; ms: number }
  /** Answer as soon as reads that begin from now on return, and are served from memory and from the table. */
  | { do: 'tell when hitting' }
  | { do: 'stop' }
  | { do: 'verify'; timelines: readonly Timeline[] };

export type ReaderAnswer =
  { is: 'stalled' } | { is: 'hitting' } | { is: 'stopped' } | { is: 'report'; report: ReaderReport };

export interface ReaderReport {
  process: number;
  boundMs: number;
  reads: number;
  singles: { reads: number; hits: number };
  tiers: Record<string, number>;
  /** What the cache complained of by its events: expected while its database is in trouble. */
  complaints: string[];
  /** Errors that a caller got and that its own computation had not raised. There must be none, ever. */
  surfaced: string[];
  /** Milliseconds of the slowest read. */
  slowest: number;
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
const MOST_ERRORS = 100;
/** A short life that is renewed in the background all the time: what was touched must be served as little as ever. */
const RENEWED: EntryOptions = { ttl: '200ms', staleWhileRevalidate: '1h', eagerRefresh: 0.5, ttlJitter: 0.2 };
/** Now and then shorter than a computation takes. */
const LEASE = { ttl: '20ms' };

/** Many sessions of one process, reading registers through the cache and noting what they get. */
class Reader {
  private readonly pool: pg.Pool;
  private readonly cachePool: pg.Pool;
  private readonly store: PostgresCache;
  private readonly cache: ResultCache;
  private readonly log = new ReadLog();
  private readonly zipf = new Zipf(REGISTERS);
  private readonly singles = { reads: 0, hits: 0 };
  private readonly complaints: string[] = [];
  private readonly surfaced: string[] = [];
  /** Errors that computations raised: those a caller may get. */
  private readonly raised = new WeakSet<object>();
  /** Hits by tier, as the cache reports each. */
  private readonly tiers: Record<string, number> = {};
  private computed = 0;
  private slowest = 0;
  private stopped = false;
  /** What is still to be seen before reads count as working. */
  private missing = new Set<'read' | Tier>();
  private missingSince = 0;

  constructor(private readonly task: ReaderTask) {
    this.pool = poolTo(task.url, 8);
    this.cachePool = poolTo(task.cacheUrl, task.poolSize);
    this.store = new PostgresCache({ connection: this.cachePool, watch: WATCH });
    const freshness: Freshness = task.boundMs === 0 ? 'strict' : { maxStaleness: `${task.boundMs}ms` };
    this.cache = new ResultCache({
      store: this.store,
      freshness,
      memory: { maxEntries: 600, ttl: '10s' },
      timeout: task.timeout,
    });
  }

  async run(): Promise<void> {
    subscribe(EVENT_CHANNEL, (message) => {
      const event = message as CacheEvent;
      if (event.type === 'hit') {
        this.tiers[event.tier] = (this.tiers[event.tier] ?? 0) + 1;
        this.seen(event.tier);
      } else if (event.type === 'error') this.complain(`${event.operation}: ${event.error.message}`);
    });
    await this.store.initialize();
    // Another process's maintenance runs against everybody's reads.
    const purging = setInterval(
      () => void this.cache.purge().catch((error: Error) => this.complain(`purge: ${error.message}`)),
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

  occupy(ms: number): void {
    void this.cachePool.query('SELECT pg_sleep($1)', [ms / 1_000]).catch(() => undefined);
  }

  tellWhenHitting(): void {
    this.missing = new Set(['read', 'memory', 'postgres']);
    this.missingSince = now();
  }

  async report(timelines: readonly Timeline[]): Promise<ReaderReport> {
    const { process, boundMs } = this.task;
    const stats = this.cache.counters();
    const violations = timelines.flatMap((timeline) => verify(during(this.log, timeline), timeline.writes, boundMs));
    this.cache.stop();
    // A connection that hangs may never end; the process does.
    await Promise.race([Promise.all([this.store.close(), this.pool.end(), this.cachePool.end()]), pause(500)]);
    const { memory = 0, postgres = 0 } = this.tiers;
    return {
      process,
      boundMs,
      reads: this.log.length,
      singles: this.singles,
      tiers: { memory, postgres, computed: this.computed, joined: stats.joined, bypassed: stats.bypassed },
      complaints: this.complaints,
      surfaced: this.surfaced,
      slowest: this.slowest,
      violations,
    };
  }

  private complain(text: string): void {
    if (this.complaints.length < MOST_ERRORS) this.complaints.push(text);
  }

  private seen(what: 'read' | Tier): void {
    if (this.missing.delete(what) && this.missing.size === 0) answer({ is: 'hitting' });
  }

  private async session(index: number): Promise<void> {
    const random = new Random(this.task.seed * 1_000 + this.task.process * 100 + index);
    const session = this.task.process * 1_000 + index;
    while (!this.stopped) {
      try {
        await this.read(session, random);
      } catch (error) {
        if (!this.raised.has(error as object) && this.surfaced.length < MOST_ERRORS)
          this.surfaced.push((error as Error).stack ?? String(error));
        // The database is in trouble: leave the processor to it.
        await pause(5);
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
        lease: LEASE,
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
        ...(register % 4 === 1 && RENEWED),
        // Of half of them, also where they are read inside another computation.
        lease: register % 2 === 0 && LEASE,
      },
    );
  }

  /** Both tables in one statement, hence in one snapshot. */
  private async query(condition: string, parameter: unknown): Promise<Row[]> {
    this.computed++;
    try {
      const { rows } = await this.pool.query<Row>(
        `SELECT a.id, a.v AS a, b.v AS b FROM reg_a a JOIN reg_b b USING (id) WHERE ${condition} ORDER BY a.id`,
        [parameter],
      );
      return rows;
    } catch (error) {
      this.raised.add(error as object);
      throw error;
    }
  }

  private note(session: number, key: number, rows: readonly Row[], began: number): void {
    const ended = now();
    this.slowest = Math.max(this.slowest, ended - began);
    if (began >= this.missingSince) this.seen('read');
    for (const { id, a, b } of rows)
      this.log.add({ session, key, register: id, a: Number(a), b: Number(b), began, ended });
  }
}

function poolTo(url: string, max: number): pg.Pool {
  const pool = new pg.Pool({ connectionString: url, max, connectionTimeoutMillis: 5_000 });
  // Without a listener a connection that breaks while it is idle ends the process.
  pool.on('error', () => undefined);
  return pool;
}

function answer(what: ReaderAnswer, then: () => void = () => undefined): void {
  process.send!(what, then);
}

function stall(ms: number): void {
  const end = now() + ms;
  while (now() < end);
}

let reader: Reader;
let done: Promise<void>;

process.on('message', (command: ReaderCommand) => {
  switch (command.do) {
    case 'start':
      mutantNamed(command.task.mutant)?.apply?.();
      reader = new Reader(command.task);
      done = reader.run();
      return;
    case 'stall':
      stall(command.ms);
      return answer({ is: 'stalled' });
    case 'occupy':
      return reader.occupy(command.ms);
    case 'tell when hitting':
      return reader.tellWhenHitting();
    case 'stop':
      reader.stop();
      return void done.then(() => answer({ is: 'stopped' }));
    case 'verify':
      return void reader
        .report(command.timelines)
        .then((report) => answer({ is: 'report', report }, () => process.exit(0)));
  }
});
