import pg from 'pg';
import { CascadeService, PostgresCache, ResultCache } from 'nestjs-result-cache';
import { type Bench } from '../bench.js';
import { measure, type Contender } from '../rounds.js';
import { type Target } from '../targets.js';

const ROWS = 1_000;
const RULES = [0, 1, 3, 10];

/** What cascade rules cost an UPDATE of one row of their source: the same table with 0, 1, 3 and 10 of them, and by hand. */
export async function cascade({ environment, report, rounds, ms }: Bench): Promise<Target[]> {
  const url = environment.postgresUrl;
  const pool = new pg.Pool({ connectionString: url, max: 1 });
  pool.on('error', () => undefined);
  const targets = Array.from({ length: 10 }, (_, n) => `c_target_${n}`);
  for (const table of targets)
    await pool.query(`CREATE TABLE ${table} (id int PRIMARY KEY, author_id int, v int NOT NULL DEFAULT 0)`);
  for (const rules of RULES)
    await pool.query(`CREATE TABLE c_source_${rules} (id int PRIMARY KEY, v int NOT NULL DEFAULT 0);
      INSERT INTO c_source_${rules} SELECT i FROM generate_series(0, ${ROWS - 1}) i`);
  const store = new PostgresCache({
    connection: url,
    watch: [...targets, ...RULES.map((rules) => `c_source_${rules}`)].map((table) => ({ table, domain: table })),
  });
  await store.initialize();
  const cache = new ResultCache({ store });
  const service = new CascadeService(cache, store);
  await service.register(
    RULES.filter((rules) => rules > 0).map((rules) => ({
      source: `c_source_${rules}`,
      cascadeTo: targets.slice(0, rules).map((target) => `${target}:author:{id}`),
    })),
  );

  let step = 0;
  const timed = async (forMs: number, run: (id: number) => Promise<unknown>): Promise<number> => {
    const end = performance.now() + forMs;
    const started = performance.now();
    let done = 0;
    for (; performance.now() < end; done++) await run(step++ % ROWS);
    return (done * 1_000) / (performance.now() - started);
  };
  // Without waiting for the disk, which costs more than what is measured.
  await pool.query('SET synchronous_commit = off');
  const contenders = RULES.map((rules): Contender => ({
    name: `${rules} rules`,
    run: (forMs) =>
      timed(forMs, (id) =>
        pool.query({ name: `c${rules}`, text: `UPDATE c_source_${rules} SET v = v + 1 WHERE id = $1`, values: [id] }),
      ),
  }));
  contenders.push({ name: 'by hand', run: (forMs) => timed(forMs, (id) => service.invalidate(`c_source_10:${id}`)) });
  const rates = await measure(contenders, rounds, ms);
  const each = (name: string): number => 1_000 / rates.get(name)!.median;
  for (const { name } of contenders) report.figure('cascade, an UPDATE of one row', 'ms', name, each(name));
  cache.stop();
  await store.close();
  await pool.end();
  return [
    ...RULES.slice(1).map((rules) => ({
      what: `cascade: ms that ${rules} rules add to an UPDATE`,
      goal: 1,
      measured: each(`${rules} rules`) - each('0 rules'),
      atLeast: false,
    })),
    {
      what: 'cascade: ms of an invalidation by hand with 10 rules',
      goal: 1,
      measured: each('by hand'),
      atLeast: false,
    },
  ];
}
