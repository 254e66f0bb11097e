import { PostgresCache, ResultCache } from 'nestjs-result-cache';
import pg from 'pg';
import { type Bench } from '../bench.js';
import { copyEntry, copyKey } from '../entries.js';
import { median } from '../quantile.js';
import { type Target } from '../targets.js';
import { valueOf } from '../values.js';

const WAYS = ['by the API', 'by an UPDATE of a watched table'] as const;

/** How long it takes to make everything in a domain void, by how much is cached of it. */
export async function invalidation({ environment, report, quick }: Bench): Promise<Target[]> {
  const [few, many] = [1_000, quick ? 100_000 : 1_000_000];
  const repetitions = quick ? 50 : 300;
  const pool = new pg.Pool({ connectionString: environment.postgresUrl, max: 4 });
  const writer = new pg.Client(environment.postgresUrl);
  await writer.connect();
  // Without waiting for the disk, which costs more than what is measured.
  await writer.query('SET synchronous_commit = off');
  const domains = new Map([few, many].map((entries) => [entries, `invalidated_${entries}`]));
  for (const domain of domains.values())
    await pool.query(
      `CREATE TABLE ${domain} (id int PRIMARY KEY, v int NOT NULL DEFAULT 0); INSERT INTO ${domain} VALUES (1)`,
    );
  const store = new PostgresCache({
    connection: pool,
    tableName: 'bench_invalidation',
    watch: [...domains.values()].map((domain) => ({ table: domain, domain })),
  });
  await store.initialize();
  const cache = new ResultCache({ store, timeout: Infinity, memory: false });
  const invalidate: Record<(typeof WAYS)[number], (domain: string) => Promise<unknown>> = {
    'by the API': (domain) => cache.invalidate({ domains: [domain] }),
    'by an UPDATE of a watched table': (domain) =>
      writer.query({ name: domain, text: `UPDATE ${domain} SET v = v + 1 WHERE id = 1` }),
  };
  /** Whether the last entry of a domain is there. */
  const isValid = (entries: number): Promise<boolean> => cache.exists(copyKey(domains.get(entries)!, entries - 1));

  const took = new Map<string, number[]>();
  const rowOf = (way: string, entries: number): string => `${way}, ${entries.toLocaleString('en-US')} entries`;
  try {
    for (const way of WAYS) {
      await pool.query(`TRUNCATE ${store.table.quoted}`);
      for (const [entries, domain] of domains) {
        await cache.getOrSet(domain, async () => valueOf(100, 1), { domains: [domain], ttl: '1h' });
        await cache.drain();
        await copyEntry(pool, store, domain, entries - 1);
      }
      await store.vacuum();
      for (const entries of domains.keys())
        if (!(await isValid(entries))) throw new Error(`invalidation: ${rowOf(way, entries)}: void before it began`);
      for (let repetition = 0; repetition < repetitions; repetition++)
        for (const [entries, domain] of domains) {
          const started = performance.now();
          await invalidate[way](domain);
          const ms = performance.now() - started;
          if (repetition === 0 && (await isValid(entries)))
            throw new Error(`invalidation: ${rowOf(way, entries)}: nothing became void`);
          const row = rowOf(way, entries);
          took.set(row, [...(took.get(row) ?? []), ms]);
        }
    }
  } finally {
    cache.stop();
    await store.close();
    await writer.end();
    await pool.end();
  }
  console.log('\ninvalidation of a domain');
  const each = (way: string, entries: number): number => median(took.get(rowOf(way, entries))!);
  for (const way of WAYS)
    for (const entries of domains.keys())
      report.figure('invalidation of a domain', 'ms', rowOf(way, entries), each(way, entries));
  return WAYS.map((way) => ({
    what: `invalidation ${way}: ${many.toLocaleString('en-US')} entries, relative to ${few.toLocaleString('en-US')}`,
    goal: 2,
    measured: each(way, many) / each(way, few),
    atLeast: false,
  }));
}
