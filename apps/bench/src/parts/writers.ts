import pg from 'pg';
import { PostgresCache } from 'nestjs-result-cache';
import { type Bench } from '../bench.js';
import { countWrites } from '../contenders/counter-row.js';
import { hammer, measure, type Contender } from '../rounds.js';
import { type Target } from '../targets.js';

const WRITERS = 16;
const ROWS = 1_600;

/**
 * What a watched table costs its writers: 16 of them, each with rows of its own, against the same table unwatched and
 * against one whose trigger counts in a row (the usual way to version a domain).
 */
export async function writers({ environment, report, rounds, ms }: Bench): Promise<Target[]> {
  const url = environment.postgresUrl;
  const pool = new pg.Pool({ connectionString: url, max: WRITERS });
  pool.on('error', () => undefined);
  await pool.query(`
    CREATE TABLE w_plain  (id int PRIMARY KEY, tenant_id text NOT NULL, v int NOT NULL DEFAULT 0);
    CREATE TABLE w_domain (id int NOT NULL, tenant_id text NOT NULL, v int NOT NULL DEFAULT 0);
    -- Unique, but no primary key: there is no row to tag, so writes touch the domain only.
    CREATE UNIQUE INDEX ON w_domain (id);
    CREATE TABLE w_tags   (id int PRIMARY KEY, tenant_id text NOT NULL, v int NOT NULL DEFAULT 0);
    CREATE TABLE w_count  (id int PRIMARY KEY, tenant_id text NOT NULL, v int NOT NULL DEFAULT 0);`);
  await countWrites(pool, 'w_count');
  for (const table of ['w_plain', 'w_domain', 'w_tags', 'w_count'])
    await pool.query(`INSERT INTO ${table} SELECT i, 't' || i % 10 FROM generate_series(0, ${ROWS - 1}) i`);
  const store = new PostgresCache({
    connection: url,
    watch: [
      { table: 'w_domain', domain: 'w_domain' },
      { table: 'w_tags', domain: 'w_tags', tenantColumn: 'tenant_id' },
    ],
  });
  await store.initialize();

  const contender = (table: string): Contender => ({
    name: table,
    run: async (ms) => {
      const step = new Array<number>(WRITERS).fill(0);
      return hammer(WRITERS, ms, (writer) => {
        const id = writer + WRITERS * (step[writer]!++ % (ROWS / WRITERS));
        return pool.query({ name: table, text: `UPDATE ${table} SET v = v + 1 WHERE id = $1`, values: [id] });
      });
    },
  });
  const rates = await measure(['w_plain', 'w_domain', 'w_tags', 'w_count'].map(contender), rounds, ms);
  report.rates('writers', rates);
  const rate = (table: string): number => rates.get(table)!.median;
  report.figure(
    'writers, finer than the counter',
    'x',
    'tenant and row tags, relative to a counter row',
    rate('w_tags') / rate('w_count'),
  );

  const deadlocks = await oppositeOrders(pool, ms);
  await store.close();
  await pool.end();
  return [
    {
      what: 'writers: domain tags, relative to unwatched',
      goal: 0.65,
      measured: rate('w_domain') / rate('w_plain'),
      atLeast: true,
    },
    {
      what: 'writers: tenant and row tags, relative to unwatched',
      goal: 0.5,
      measured: rate('w_tags') / rate('w_plain'),
      atLeast: true,
    },
    // Like with like: a counter row tells a domain's writes apart, and nothing finer.
    {
      what: 'writers: domain tags, relative to a counter row',
      goal: 3,
      measured: rate('w_domain') / rate('w_count'),
      atLeast: true,
    },
    {
      what: 'writers: deadlocks of two-table transactions in opposite orders',
      goal: 0,
      measured: deadlocks,
      atLeast: false,
    },
  ];
}

/** Transactions that write two watched tables, half of them in the other order. */
async function oppositeOrders(pool: pg.Pool, ms: number): Promise<number> {
  let deadlocks = 0;
  let id = 0;
  await hammer(WRITERS, ms, async (writer) => {
    const client = await pool.connect();
    try {
      const tables = writer % 2 === 0 ? ['w_domain', 'w_tags'] : ['w_tags', 'w_domain'];
      await client.query('BEGIN');
      for (const table of tables)
        await client.query(`UPDATE ${table} SET v = v + 1 WHERE id = $1`, [writer + WRITERS * (id++ % 50)]);
      await client.query('COMMIT');
    } catch (error) {
      await client.query('ROLLBACK');
      if ((error as { code?: string }).code === '40P01') deadlocks++;
    } finally {
      client.release();
    }
  });
  return deadlocks;
}
