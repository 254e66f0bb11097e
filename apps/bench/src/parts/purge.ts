import { PostgresCache, ResultCache, type MemoryOptions } from 'nestjs-result-cache';
import { createHistogram } from 'node:perf_hooks';
import pg from 'pg';
import { type Bench } from '../bench.js';
import { copyEntry } from '../entries.js';
import { median } from '../quantile.js';
import { type Target } from '../targets.js';
import { valueOf, valuesOf } from '../values.js';

const CALLERS = 16;
const IDLE_MS = 5_000;
const TIERS: readonly [name: string, memory: MemoryOptions | false][] = [
  ['PostgreSQL, validated', false],
  ['memory, strict', { maxEntries: 10_000, maxBytes: 2 ** 30, ttl: '1h' }],
];

interface Round {
  /** Milliseconds that 99 % of reads take at most. */
  idle: number;
  meanwhile: number;
  /** Of the purge. */
  seconds: number;
}

/** What readers notice of a purge that deletes very many expired entries, by the cache that they read through. */
export async function purge({ environment, report, quick }: Bench): Promise<Target[]> {
  const expired = quick ? 100_000 : 1_000_000;
  const title = `purge of ${expired.toLocaleString('en-US')} expired entries, ${CALLERS} callers reading`;
  const pool = new pg.Pool({ connectionString: environment.postgresUrl, max: 4 });
  const store = new PostgresCache({ connection: pool, tableName: 'bench_purge' });
  await store.initialize();
  const targets: Target[] = [];
  console.log(`\n${title}`);
  try {
    for (const [name, memory] of TIERS) {
      const rounds: Round[] = [];
      for (let round = 0; round < (quick ? 1 : 3); round++) rounds.push(await purgeOnce(pool, store, memory, expired));
      const ratio = median(rounds.map(({ idle, meanwhile }) => meanwhile / idle));
      report.figure(title, 'ms', `${name}: p99 of a read, idle`, median(rounds.map(({ idle }) => idle)));
      report.figure(title, 'ms', `${name}: p99 of a read, meanwhile`, median(rounds.map(({ meanwhile }) => meanwhile)));
      report.figure(title, 's', `${name}: the purge takes`, median(rounds.map(({ seconds }) => seconds)));
      targets.push({ what: `${title}: p99 of ${name}, relative to idle`, goal: 3, measured: ratio, atLeast: false });
    }
  } finally {
    await store.close();
    await pool.end();
  }
  return targets;
}

async function purgeOnce(
  pool: pg.Pool,
  store: PostgresCache,
  memory: MemoryOptions | false,
  expired: number,
): Promise<Round> {
  const cache = new ResultCache({ store, timeout: Infinity, memory });
  const policy = cache.policy({ tags: ['purge'], ttl: '1h' });
  await pool.query(`TRUNCATE ${store.table.quoted}`);
  await cache.getOrSet('expired', async () => valueOf(1_000, 0), policy);
  await cache.drain();
  // As in use, keys come in no order and what was stored first expires first.
  await copyEntry(pool, store, 'expired', expired, {
    cache_key: `md5(n::text)`,
    expires_at: `now() - ${expired + 1} * interval '1 ms' + n * interval '1 ms'`,
  });
  const values = valuesOf(1_000, 1_000);
  for (const [key, value] of values) await cache.getOrSet(key, async () => value, policy);
  await cache.drain();
  // Now, or the server would begin by itself at some moment of what is measured.
  await store.vacuum();

  const keys = [...values.keys()];
  const missing = async (): Promise<never> => {
    throw new Error('purge: a miss');
  };
  let next = 0;
  const read = (): Promise<unknown> => cache.getOrSet(keys[(next += 7) % keys.length]!, missing, policy);
  const warm = performance.now() + 500;
  await p99(read, () => performance.now() > warm);
  const end = performance.now() + IDLE_MS;
  const idle = await p99(read, () => performance.now() > end);

  const started = performance.now();
  let purged: number | null | undefined;
  const purging = cache.purge().then(({ entries }) => (purged = entries));
  const meanwhile = await p99(read, () => purged !== undefined);
  await purging;
  const seconds = (performance.now() - started) / 1_000;
  cache.stop();
  if (purged !== expired) throw new Error(`${purged} entries were purged in place of ${expired}`);
  return { idle, meanwhile, seconds };
}

/** Milliseconds that 99 % of reads take at most, while callers read without a pause. */
async function p99(read: () => Promise<unknown>, ended: () => boolean): Promise<number> {
  const microseconds = createHistogram();
  await Promise.all(
    Array.from({ length: CALLERS }, async () => {
      while (!ended()) {
        const asked = performance.now();
        await read();
        microseconds.record(Math.max(1, Math.round((performance.now() - asked) * 1_000)));
      }
    }),
  );
  return microseconds.percentile(99) / 1_000;
}
