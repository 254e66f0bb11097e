import { PostgresCache, ResultCache } from 'nestjs-result-cache';
import pg from 'pg';
import { type Bench } from '../bench.js';
import { memoryContenders } from '../contenders/keyed.js';
import { Crew } from '../crew.js';
import { copyEntry } from '../entries.js';
import { type Servers } from '../environment.js';
import { type Holding } from '../members/memory.js';
import { median } from '../quantile.js';
import { type Target } from '../targets.js';
import { valueOf } from '../values.js';

const ENTRIES = 10_000;
const BYTES = 1_000;

/** Bytes that an entry takes: in this process, where each contender has a fresh one, and in the table. */
export async function memory({ environment, report, quick }: Bench): Promise<Target[]> {
  const { postgresUrl, redisUrl } = environment;
  const title = `memory, ${ENTRIES.toLocaleString('en-US')} entries of ${BYTES.toLocaleString('en-US')} bytes of JSON`;
  const module = new URL('../members/memory.ts', import.meta.url);
  console.log(`\n${title}`);
  for (const { name: contender } of memoryContenders) {
    const each: number[] = [];
    for (let round = 0; round < (quick ? 1 : 3); round++) {
      const crew = await Crew.start<Servers, Holding, number>(module, 1, { postgresUrl, redisUrl }, ['--expose-gc']);
      try {
        each.push(...(await crew.do({ contender, entries: ENTRIES, bytes: BYTES })));
      } finally {
        await crew.stop();
      }
    }
    report.figure(title, 'bytes an entry', contender, median(each));
  }
  report.figure(title, 'bytes an entry', 'nestjs-result-cache: PostgreSQL, with indexes', await inTable(postgresUrl));
  return [];
}

async function inTable(postgresUrl: string): Promise<number> {
  const pool = new pg.Pool({ connectionString: postgresUrl, max: 4 });
  const store = new PostgresCache({ connection: pool, tableName: 'bench_memory' });
  await store.initialize();
  const cache = new ResultCache({ store, timeout: Infinity });
  try {
    await cache.getOrSet('user', async () => valueOf(BYTES, 1), { tags: ['user'], ttl: '1h' });
    await cache.drain();
    await copyEntry(pool, store, 'user', ENTRIES - 1);
    const { totalEntries, tableSizeBytes } = await store.stats();
    return tableSizeBytes / totalEntries;
  } finally {
    cache.stop();
    await store.close();
    await pool.end();
  }
}
