import pg from 'pg';
import { bentocaches } from '../contenders/bentocache.js';
import { cacheManagers } from '../contenders/cache-manager.js';
import { counterRowItems } from '../contenders/counter-row.js';
import { computeItem, itemsThrough, type ItemReader, type ItemReaderSpec } from '../contenders/items.js';
import { ownItemReaders } from '../contenders/own.js';
import { typeOrmItems } from '../contenders/typeorm.js';
import { type Bench } from '../bench.js';
import { hammer, measure } from '../rounds.js';
import { Ledger } from '../ledger.js';
import { type Target } from '../targets.js';
import { valueOf } from '../values.js';

const ITEMS = 500;
const CALLERS = 32;
/** Two caches with a memory of their own stand for two processes of an application. */
const PROCESSES = 2;
const WRITES = 0.05;
/** Of the writes, those by plain SQL from somewhere else: `psql`, a migration, another service. */
const UNAWARE = 0.1;

/** All caches by key live for an hour, so that what is stale is not hidden by a short time to live. */
const specs: ItemReaderSpec[] = [
  { name: 'no cache', maxStalenessMs: 0, open: uncached },
  ...ownItemReaders,
  counterRowItems,
  ...[...cacheManagers, ...bentocaches].map(itemsThrough),
  typeOrmItems(CALLERS / PROCESSES),
];

interface Counts {
  reads: number;
  /** Older than a commit that was acknowledged before the read began, and by more than the contender allows. */
  stale: number;
  /** Those of them that lack a write whose invalidation, if it had one, had returned before the read began as well. */
  finished: number;
  /** Older than such a commit at all. */
  behind: number;
  /** By how many milliseconds the oldest one was. */
  oldestMs: number;
}

/** 95 reads and 5 writes in 100, of a table's rows by key, and how many answers were older than they may be. */
export async function mixed(bench: Bench): Promise<Target[]> {
  const { environment, report } = bench;
  const pool = new pg.Pool({ connectionString: environment.postgresUrl, max: 16 });
  pool.on('error', () => undefined);
  const everyWriter = 'mixed 95/5 on two instances, every writer invalidates';
  const notAll = `mixed 95/5 on two instances, ${UNAWARE * 100} % of the writes by plain SQL that knows of no cache`;
  const running: { spec: ItemReaderSpec; run: Workload }[] = [];
  try {
    for (const [index, spec] of specs.entries()) {
      const table = { name: `bench_items_${index}`, pool };
      await createItems(pool, table.name);
      const readers: ItemReader[] = [];
      for (let process = 0; process < PROCESSES; process++) {
        const reader = await spec.open(environment, table, PROCESSES);
        if (reader !== null) readers.push(reader);
      }
      if (readers.length === PROCESSES) running.push({ spec, run: new Workload(spec, table.name, pool, readers) });
      else
        for (const title of [everyWriter, notAll])
          report.notMeasured(title, spec.name, 'it, or its bus between processes, needs Redis, and there is none here');
    }
    for (const { run } of running) await run.warm();
    const stale = new Map<string, number>();
    for (const [title, unaware] of [
      [everyWriter, 0],
      [notAll, UNAWARE],
    ] as const) {
      for (const { run } of running) run.begin(unaware);
      const contenders = running.map(({ spec: { name }, run }) => ({ name, run: (ms: number) => run.go(ms) }));
      const rates = await measure(contenders, bench.rounds, bench.ms);
      const counts = new Map(running.map(({ spec, run }) => [spec.name, columns(run.counts)]));
      report.rates(title, rates, counts);
      for (const { spec, run } of running) stale.set(spec.name, (stale.get(spec.name) ?? 0) + run.counts.stale);
    }
    return ownItemReaders.map(({ name, maxStalenessMs }) => ({
      what: `stale answers, mixed: ${name}${maxStalenessMs > 0 ? ', older than its bound' : ''}`,
      goal: 0,
      measured: stale.get(name)!,
      atLeast: false,
    }));
  } finally {
    for (const { run } of running) await run.close();
    await pool.end();
  }
}

/** The figures under the names that they have in the report. */
function columns({ reads, stale, finished, behind, oldestMs }: Counts): Record<string, number> {
  return {
    reads,
    'stale answers': stale,
    'of them after the writer was done': finished,
    'behind at all': behind,
    'oldest, ms': Math.round(oldestMs),
  };
}

/** Callers of two processes that read and write one contender's table, and the book that is kept on them. */
class Workload {
  counts = nothingCounted();
  private unaware = 0;
  /** When commits were acknowledged, and when their writers were done, with invalidating too. */
  private readonly committed = new Ledger();
  private readonly finished = new Ledger();

  constructor(
    private readonly spec: ItemReaderSpec,
    private readonly table: string,
    private readonly pool: pg.Pool,
    private readonly readers: readonly ItemReader[],
  ) {}

  /** Have each process read each row, several at a time, and nothing that a Redis may still hold from an earlier run. */
  async warm(): Promise<void> {
    for (const reader of this.readers) {
      let next = 0;
      const one = async (): Promise<void> => {
        for (let id = next++; id < ITEMS; id = next++) {
          await reader.invalidate(id);
          await reader.read(id);
        }
      };
      await Promise.all(Array.from({ length: CALLERS / PROCESSES }, one));
    }
  }

  /** Count from zero. @param unaware Share of the writes that tell no cache. */
  begin(unaware: number): void {
    this.counts = nothingCounted();
    this.unaware = unaware;
  }

  go(ms: number): Promise<number> {
    return hammer(CALLERS, ms, (caller) => {
      const reader = this.readers[caller % PROCESSES]!;
      const id = Math.floor(Math.random() * ITEMS);
      return Math.random() < WRITES ? this.write(reader, id) : this.read(reader, id);
    });
  }

  async close(): Promise<void> {
    for (const reader of this.readers) await reader.close();
  }

  private async write(reader: ItemReader, id: number): Promise<void> {
    const aware = Math.random() >= this.unaware;
    const text = `UPDATE ${this.table} SET version = version + 1 WHERE id = $1 RETURNING version`;
    const { rows } = await this.pool.query<{ version: number }>({ name: `write ${this.table}`, text, values: [id] });
    this.committed.enter(id, rows[0]!.version);
    if (aware) await reader.invalidate(id);
    this.finished.enter(id, rows[0]!.version);
  }

  private async read(reader: ItemReader, id: number): Promise<void> {
    const began = performance.now();
    // Before the read: what is acknowledged while it is under way it need not show.
    const committed = this.committed.latest(id);
    const finished = this.finished.latest(id);
    const { version } = await reader.read(id);
    const { counts } = this;
    counts.reads++;
    if (version >= committed) return;
    const behindMs = began - this.committed.firstAfter(id, version);
    counts.behind++;
    counts.oldestMs = Math.max(counts.oldestMs, behindMs);
    if (behindMs <= this.spec.maxStalenessMs) return;
    counts.stale++;
    if (version < finished) counts.finished++;
  }
}

function nothingCounted(): Counts {
  return { reads: 0, stale: 0, finished: 0, behind: 0, oldestMs: 0 };
}

async function createItems(pool: pg.Pool, table: string): Promise<void> {
  await pool.query(`CREATE TABLE ${table} (id int PRIMARY KEY, version int NOT NULL, value json NOT NULL)`);
  await pool.query(`INSERT INTO ${table} SELECT i, 0, $1 FROM generate_series(0, ${ITEMS - 1}) i`, [
    JSON.stringify(valueOf(1_000, 0)),
  ]);
}

async function uncached(_: unknown, table: Parameters<ItemReaderSpec['open']>[1]): Promise<ItemReader> {
  const nothing = async (): Promise<void> => undefined;
  return { read: (id) => computeItem(table, id), invalidate: nothing, close: nothing };
}
