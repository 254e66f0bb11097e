import { parseArgs } from 'node:util';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { startServer } from '@workspace/embedded-server';
import { type Violation } from './history.js';
import { createLoadedDatabase, Load } from './load.js';
import { mutantNamed } from './mutants.js';
import { type ReaderReport } from './reader.js';
import { pause } from './registers.js';

const USAGE = `npm run check:consistency -- [--seconds 10] [--seed 1] [--processes 4] [--mode strict|bounded] [--delta 50] [--sessions 32] [--writes 100]`;

export interface CheckOptions {
  seconds: number;
  seed: number;
  processes: number;
  mode: 'strict' | 'bounded';
  /** Milliseconds of staleness allowed when bounded. */
  delta: number;
  sessions: number;
  /** Writes a second, by all writers. */
  writes: number;
  mutant?: string;
}

export interface CheckResult {
  reads: number;
  writes: number;
  seconds: number;
  hitRateSingles: number;
  tiers: Record<string, number>;
  errors: string[];
  violations: Violation[];
}

/** Readers in processes of their own, writers and the server here: hold every read against every write. */
export async function check(options: CheckOptions): Promise<CheckResult> {
  const server = await startServer({ settings: { max_prepared_transactions: 50, shared_buffers: '128MB' } });
  const pool = new pg.Pool({ connectionString: server.url(), max: 2 });
  pool.on('error', () => undefined);
  let load: Load | undefined;
  try {
    await createLoadedDatabase(pool, server.url());
    await mutantNamed(options.mutant)?.prepare?.(pool);
    const { processes, mode, delta } = options;
    const bounds = Array.from({ length: processes }, () => (mode === 'bounded' ? delta : 0));
    // A busy machine is no fault: who waits is checked too.
    load = new Load({ ...options, url: server.url(), bounds, timeout: Infinity });
    // A check of nothing would find nothing. (A mutant may keep everything out of the cache.)
    if ((await load.untilHitting(60_000)) === null && options.mutant === undefined)
      throw new Error('the caches do not become warm, so there is nothing to check');
    await pause(options.seconds * 1_000);
    const reports = await load.finish();
    return summarize(reports, load.attempted, options.seconds);
  } finally {
    await load?.abort();
    await pool.end();
    await server.stop();
  }
}

function summarize(reports: readonly ReaderReport[], writes: number, seconds: number): CheckResult {
  const tiers: Record<string, number> = {};
  for (const report of reports)
    for (const [tier, count] of Object.entries(report.tiers)) tiers[tier] = (tiers[tier] ?? 0) + count;
  const singles = reports.reduce((sum, { singles: { reads } }) => sum + reads, 0);
  return {
    reads: reports.reduce((sum, { reads }) => sum + reads, 0),
    writes,
    seconds,
    hitRateSingles: reports.reduce((sum, { singles: { hits } }) => sum + hits, 0) / Math.max(1, singles),
    tiers,
    errors: reports.flatMap(({ complaints, surfaced }) => [...surfaced, ...complaints].slice(0, 5)),
    violations: reports.flatMap(({ violations }) => violations),
  };
}

function parse(): CheckOptions {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string', default: '10' },
      seed: { type: 'string', default: '1' },
      processes: { type: 'string', default: '4' },
      mode: { type: 'string', default: 'strict' },
      delta: { type: 'string', default: '50' },
      sessions: { type: 'string', default: '32' },
      writes: { type: 'string', default: '100' },
      mutant: { type: 'string' },
    },
  });
  const number = (name: 'seconds' | 'seed' | 'processes' | 'delta' | 'sessions' | 'writes'): number => {
    const value = Number(values[name]);
    if (!(value > 0)) throw new Error(`--${name} ${values[name]} is not a positive number\n${USAGE}`);
    return value;
  };
  if (values.mode !== 'strict' && values.mode !== 'bounded')
    throw new Error(`--mode ${values.mode} is unknown: strict or bounded\n${USAGE}`);
  return {
    seconds: number('seconds'),
    seed: number('seed'),
    processes: number('processes'),
    mode: values.mode,
    delta: number('delta'),
    sessions: number('sessions'),
    writes: number('writes'),
    mutant: values.mutant,
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    const options = parse();
    const result = await check(options);
    console.log(
      `mode        ${options.mode}${options.mode === 'bounded' ? ` (${options.delta} ms)` : ''}, ${options.processes} processes, seed ${options.seed}`,
    );
    console.log(`reads       ${result.reads} values checked, ${Math.round(result.reads / result.seconds)}/s`);
    console.log(
      `tiers       ${Object.entries(result.tiers)
        .map(([tier, count]) => `${tier} ${count}`)
        .join(', ')}`,
    );
    console.log(`hit rate    ${(result.hitRateSingles * 100).toFixed(1)} % of single rows`);
    console.log(`writes      ${result.writes}`);
    if (result.errors.length > 0) console.log(`errors      ${result.errors.join('; ')}`);
    console.log(`violations  ${result.violations.length}`);
    for (const violation of result.violations.slice(0, 5)) console.log(JSON.stringify(violation, null, 1));
    process.exitCode = result.violations.length > 0 || result.errors.length > 0 ? 1 : 0;
  } catch (error) {
    console.error((error as Error).message);
    process.exitCode = 2;
  }
}
