import { bentocaches } from '../contenders/bentocache.js';
import { cacheManagers } from '../contenders/cache-manager.js';
import { counterRow } from '../contenders/counter-row.js';
import { limits } from '../contenders/limits.js';
import { ownContenders } from '../contenders/own.js';
import { typeOrm } from '../contenders/typeorm.js';
import { hitsOf, type ReadContender } from '../contenders/contender.js';
import { type Bench } from '../bench.js';
import { hammer, measure, type Measured } from '../rounds.js';
import { type Target } from '../targets.js';
import { valuesOf } from '../values.js';

const KEYS = 1_000;
const CALLERS = [1, 16, 64, 256];
const SIZES = [100, 1_000, 50_000];

const contenders = [
  ...limits,
  ...ownContenders,
  counterRow,
  ...[...cacheManagers, ...bentocaches].map(hitsOf),
  typeOrm,
];

/** Hits: from memory, from PostgreSQL, from Redis; each read gives the application a value of its own. */
export async function reads(bench: Bench): Promise<Target[]> {
  const main = await table(bench, 1_000, CALLERS);
  for (const size of SIZES.filter((bytes) => bytes !== 1_000)) await table(bench, size, bench.quick ? [64] : CALLERS);
  return targets(main);
}

/** All contenders with values of one size, by number of callers. */
async function table(
  bench: Bench,
  bytes: number,
  callers: readonly number[],
): Promise<Map<number, Map<string, Measured>>> {
  const values = valuesOf(bytes, bytes > 10_000 ? KEYS / 10 : KEYS);
  const keys = [...values.keys()];
  const open = new Map<string, ReadContender>();
  const results = new Map<number, Map<string, Measured>>();
  try {
    for (const spec of contenders) {
      const contender = await spec.open(bench.environment, values);
      if (contender === null) bench.report.notMeasured(`reads, ${bytes} bytes`, spec.name, 'there is no Redis here');
      else open.set(spec.name, contender);
    }
    for (const count of callers) {
      const running = [...open].map(([name, contender]) => ({
        name,
        run: (ms: number) => {
          let next = 0;
          return hammer(count, ms, () => contender.read(keys[(next += 7) % keys.length]!));
        },
      }));
      const measured = await measure(running, bench.rounds, bench.ms);
      bench.report.rates(`reads, ${bytes} bytes, ${count} callers`, measured);
      results.set(count, measured);
    }
  } finally {
    for (const contender of open.values()) await contender.close();
  }
  return results;
}

function targets(results: Map<number, Map<string, Measured>>): Target[] {
  const ratio = (callers: number, name: string, to: string): number | null => {
    const own = results.get(callers)?.get(`nestjs-result-cache: ${name}`)?.median;
    const other = results.get(callers)?.get(to)?.median;
    return own === undefined || other === undefined ? null : own / other;
  };
  const [bounded, strict, postgres] = ['memory, bounded 50 ms', 'memory, strict', 'PostgreSQL, validated'] as const;
  const redis = 'ioredis, autopipelining: GET and parse';
  const rows: [callers: number, name: string, to: string, goal: number][] = [
    [64, bounded, 'cache-manager: memory', 6],
    [64, bounded, 'bentocache: memory', 3],
    [64, strict, redis, 3],
    [256, strict, redis, 5],
    [64, postgres, redis, 1.1],
    [64, postgres, 'bentocache: PostgreSQL (knex)', 6],
    [64, postgres, 'cache-manager: @keyv/postgres', 10],
    [64, postgres, 'pg: one = ANY batch a turn', 0.85],
  ];
  const atLeast = rows.map(([callers, name, to, goal]) => ({
    what: `hits, ${callers} callers: ${name}, relative to ${to}`,
    goal,
    measured: ratio(callers, name, to),
    atLeast: true,
  }));
  const latency = ratio(1, postgres, 'pg: one prepared primary-key read');
  return [
    ...atLeast,
    {
      what: 'hits, 1 caller: latency of PostgreSQL, validated, relative to a prepared primary-key read',
      goal: 1.4,
      measured: latency === null ? null : 1 / latency,
      atLeast: false,
    },
  ];
}
