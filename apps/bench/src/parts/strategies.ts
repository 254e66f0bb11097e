import { Redis } from 'ioredis';
import { deepStrictEqual } from 'node:assert';
import { isDeepStrictEqual } from 'node:util';
import pg from 'pg';
import { type Bench } from '../bench.js';
import { hammer, measure } from '../rounds.js';
import { createResultTable, redisByHand, resultCaches, resultTables, storeInto } from '../strategies/caches.js';
import {
  generatedColumnOverRows,
  liveQuery,
  materializedViews,
  partialIndex,
  totalsByTrigger,
} from '../strategies/in-database.js';
import { ask, createSales } from '../strategies/question.js';
import { type Strategy, type Workbench } from '../strategies/strategy.js';
import { type Target } from '../targets.js';

const CALLERS = [1, 64];
/** Writes after each of which a read is held against the truth. */
const CHANGES = 20;
const REDIS = 'Redis by hand, deleted by writers';

/** What else PostgreSQL has for a slow question, and Redis: how fast it is read, what it costs writers, how far it can be behind. */
export async function strategies(bench: Bench): Promise<Target[]> {
  const { environment, report, quick } = bench;
  const size = quick ? { customers: 1_000, salesEach: 200 } : { customers: 2_000, salesEach: 500 };
  // Writes without waiting for the disk, which costs more than what is measured.
  const options = '-c synchronous_commit=off';
  const pool = new pg.Pool({ connectionString: environment.postgresUrl, max: 4, options });
  pool.on('error', () => undefined);
  const redis = environment.redisUrl === null ? null : new Redis(environment.redisUrl, { enableAutoPipelining: true });
  let computed = 0;
  const workbench: Workbench = {
    postgresUrl: environment.postgresUrl,
    pool,
    redis,
    size,
    plain: 'sales',
    compute: (table, customer) => {
      computed++;
      return ask(pool, table, customer);
    },
  };
  const all: Strategy[] = [];
  try {
    await pool.query(createSales(workbench.plain, size));
    await pool.query(`VACUUM ANALYZE ${workbench.plain}`);
    all.push(liveQuery(workbench), await partialIndex(workbench), await totalsByTrigger(workbench));
    all.push(...(await materializedViews(workbench)), ...(await resultTables(workbench)));
    const byHand = redisByHand(workbench);
    if (byHand !== null) all.push(byHand);
    all.push(...(await resultCaches(workbench)));

    await measureReads(bench, all, workbench, () => computed);
    const title = 'strategies, reads, 1 caller';
    const refused = await generatedColumnOverRows(workbench);
    report.notMeasured(title, 'generated column over other rows', refused);
    if (byHand === null) report.notMeasured(title, REDIS, 'there is no Redis here');
    await measureWrites(bench, all, workbench);
    await countStale(bench, all, workbench);
  } finally {
    for (const { close } of all) await close?.();
    redis?.disconnect();
    await pool.end();
  }
  await measureResultTables(bench);
  return [];
}

async function measureReads(
  { report, rounds, ms }: Bench,
  all: readonly Strategy[],
  { pool, size }: Workbench,
  computed: () => number,
): Promise<void> {
  for (const strategy of all) {
    await warm(strategy, size.customers, computed);
    for (const customer of [0, 7, size.customers - 1])
      deepStrictEqual(await strategy.read(customer), await ask(pool, strategy.table, customer), strategy.name);
  }
  await pool.query('VACUUM ANALYZE');
  const before = computed();
  for (const callers of CALLERS) {
    const contenders = all.map(({ name, read }) => {
      let next = 0;
      return { name, run: (forMs: number) => hammer(callers, forMs, () => read((next += 7) % size.customers)) };
    });
    const rates = await measure(contenders, rounds, ms);
    report.rates(`strategies, reads, ${callers === 1 ? '1 caller' : `${callers} callers`}`, rates);
    if (callers > 1) continue;
    for (const { name, median } of rates.values())
      report.figure('strategies, latency of a read', 'ms', name, 1_000 / median);
  }
  if (computed() !== before) throw new Error('strategies: some of what was measured as cached was computed');
}

/** Read all until a whole round comes from the cache: what is computed may be stored after it was returned. */
async function warm({ name, read }: Strategy, customers: number, computed: () => number): Promise<void> {
  for (let round = 0; round < 10; round++) {
    const before = computed();
    for (let customer = 0; customer < customers; customer++) await read(customer);
    if (computed() === before) return;
  }
  throw new Error(`${name}: reads never stop being computed`);
}

/** One writer: changes of one sale, and what a strategy has to be told of it. */
async function measureWrites(
  { report, rounds, ms }: Bench,
  all: readonly Strategy[],
  { pool, size }: Workbench,
): Promise<void> {
  const contenders = all.map((strategy) => {
    let next = 0;
    return {
      name: strategy.name,
      run: (forMs: number) => hammer(1, forMs, () => write(strategy, pool, size, (next += 7))),
    };
  });
  const rates = await measure(contenders, rounds, ms);
  report.rates('strategies, writes of one row, 1 writer', rates);
  const each = (name: string): number => 1_000 / rates.get(name)!.median;
  for (const { name } of all.slice(1))
    report.figure('strategies, added to a write', 'ms', name, each(name) - each(all[0]!.name));
}

async function write(strategy: Strategy, pool: pg.Pool, size: Workbench['size'], sale: number): Promise<void> {
  const customer = await change(strategy.table, pool, size, sale);
  await strategy.afterWrite?.(customer);
}

/** As `psql` would write. Every sale that is changed here is a paid one. */
async function change(
  table: string,
  pool: pg.Pool,
  { customers, salesEach }: Workbench['size'],
  sale: number,
): Promise<number> {
  const text = `UPDATE ${table} SET amount = amount + 1 WHERE id = $1 RETURNING customer_id`;
  const id = sale % (customers * Math.min(9, salesEach));
  const { rows } = await pool.query<{ customer_id: number }>({ name: `change ${table}`, text, values: [id] });
  return rows[0]!.customer_id;
}

/** Answers that lack a change which was committed before they were asked for. */
async function countStale({ report }: Bench, all: readonly Strategy[], { pool, size }: Workbench): Promise<void> {
  for (const strategy of all) {
    const ways: Record<string, (sale: number) => Promise<unknown>> = {
      'writers who know of it': (sale) => write(strategy, pool, size, sale),
      'plain SQL': (sale) => change(strategy.table, pool, size, sale),
    };
    for (const [way, changeSale] of Object.entries(ways)) {
      let stale = 0;
      for (let customer = 0; customer < CHANGES; customer++) {
        await strategy.read(customer);
        await changeSale(customer);
        const answer = await strategy.read(customer);
        if (!isDeepStrictEqual(answer, await ask(pool, strategy.table, customer))) stale++;
      }
      const title = `strategies, stale answers after ${CHANGES} changes by ${way}`;
      report.figure(title, 'answers', `${strategy.name} (${way})`, stale);
    }
  }
}

/** Storing results one by one in an UNLOGGED table and in a logged one, with durable commits, which is PostgreSQL's default. */
async function measureResultTables({ environment, report, rounds, ms }: Bench): Promise<void> {
  const pool = new pg.Pool({ connectionString: environment.postgresUrl, max: 16 });
  pool.on('error', () => undefined);
  const result = JSON.stringify({ count: 450, total: 2_250_000 });
  const logged = new Map<string, { bytes: number; stored: number }>();
  const contenders = [];
  for (const [name, kind] of [
    ['UNLOGGED', 'UNLOGGED'],
    ['logged', ''],
  ] as const) {
    const table = `stored_${name.toLowerCase()}`;
    await pool.query(createResultTable(table, kind));
    let next = 0;
    contenders.push({
      name: `result table, ${name}`,
      run: async (forMs: number) => {
        const before = next;
        const from = await logPosition(pool);
        const rate = await hammer(16, forMs, () =>
          pool.query({ name: table, text: storeInto(table), values: [`result:${next++ % 10_000}`, result, 3_600] }),
        );
        logged.set(`result table, ${name}`, { bytes: (await logPosition(pool)) - from, stored: next - before });
        return rate;
      },
    });
  }
  report.rates('strategies, results stored, 16 callers', await measure(contenders, rounds, ms));
  for (const [name, { bytes, stored }] of logged)
    report.figure('strategies, write-ahead log of a stored result', 'bytes', name, bytes / stored);
  await pool.end();
}

async function logPosition(pool: pg.Pool): Promise<number> {
  const text = `SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn AS bytes`;
  return Number((await pool.query<{ bytes: string }>(text)).rows[0]!.bytes);
}
