import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { parseArgs } from 'node:util';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { startServer } from '@workspace/embedded-server';
import { PostgresCache } from 'nestjs-result-cache';
import { mutantNamed } from './mutants.js';
import { type Violation, type Write } from './history.js';
import { Random } from './random.js';
import { type ReaderReport, type ReaderTask } from './reader.js';
import { createRegisters, pause, WATCH, Writer } from './registers.js';

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

const WRITERS = 8;

/** Readers in processes of their own, writers and the server here: hold every read against every write. */
export async function check(options: CheckOptions): Promise<CheckResult> {
  const server = await startServer({ settings: { max_prepared_transactions: 50, shared_buffers: '128MB' } });
  const pool = new pg.Pool({ connectionString: server.url(), max: WRITERS + 2 });
  pool.on('error', () => undefined);
  const readers: ChildProcess[] = [];
  try {
    await createRegisters(pool);
    const store = new PostgresCache({ connection: server.url(), watch: WATCH });
    await store.initialize();
    await store.close();
    await mutantNamed(options.mutant)?.prepare?.(pool);

    for (let index = 0; index < options.processes; index++) readers.push(startReader(options, server.url(), index));
    let stopped = false;
    const writers = Array.from(
      { length: WRITERS },
      (_, index) => new Writer(pool, index, WRITERS, new Random(options.seed * 7_919 + index)),
    );
    const writing = writers.map((writer) => writer.run(() => stopped, (WRITERS * 1_000) / options.writes));
    await pause(options.seconds * 1_000);
    for (const reader of readers) reader.send('stop');
    await Promise.all(readers.map((reader) => once(reader, 'message')));
    stopped = true;
    await Promise.all(writing);

    const writes: Write[] = writers.flatMap((writer) => writer.writes);
    const reports = await Promise.all(
      readers.map(async (reader) => {
        reader.send(writes);
        return (await once(reader, 'message'))[0] as ReaderReport;
      }),
    );
    return summarize(reports, writes.length, options.seconds);
  } finally {
    for (const reader of readers) reader.kill('SIGKILL');
    await pool.end();
    await server.stop();
  }
}

function startReader(options: CheckOptions, url: string, index: number): ChildProcess {
  const reader = fork(fileURLToPath(new URL('./reader.ts', import.meta.url)), { serialization: 'advanced' });
  reader.once('exit', (code) => {
    if (code !== 0 && code !== null) console.error(`reader ${index} ended with ${code}`);
  });
  const task: ReaderTask = {
    url,
    process: index,
    sessions: options.sessions,
    seed: options.seed,
    boundMs: options.mode === 'bounded' ? options.delta : 0,
    mutant: options.mutant,
  };
  reader.send(task);
  return reader;
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
    errors: reports.flatMap(({ errors }) => errors),
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
