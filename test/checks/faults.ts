import { parseArgs } from 'node:util';
import { fileURLToPath } from 'node:url';
import { startServer } from '@workspace/embedded-server';
import pg from 'pg';
import { DATABASE, faults, type Fault } from './fault-cases.js';
import { now } from './history.js';
import { surviveHang } from './hung-server.js';
import { createLoadedDatabase, Load } from './load.js';
import { mutantNamed } from './mutants.js';
import { Proxy } from './proxy.js';
import { type ReaderReport } from './reader.js';
import { pause } from './registers.js';

/** Not one of the others: what it costs is measured beside calls without a cache. */
const HUNG = 'server hung';

const USAGE = `npm run check:faults -- [--only NAME] [--seconds 5] [--delta 50] [--hang 30] [--mutant NAME]
faults: ${faults.map(({ name }) => name).join('; ')}; ${HUNG}`;

/** Reads must work again so soon after the server is back. */
const MOST_MS_TO_RECOVER = 5_000;

interface Options {
  /** How long the processes read in all, at least. */
  seconds: number;
  /** Milliseconds that bounded reads may be behind. */
  delta: number;
  /** A known mistake to make, to see that it is noticed. */
  mutant: string | undefined;
}

interface Survival {
  /** Milliseconds from the server's return until all processes were served from memory and table again; `null`: too late. */
  recovered: number | null;
  reports: ReaderReport[];
}

/** One fault under load: a strict and a bounded process on a server of their own. */
async function survive(fault: Fault, { seconds, delta, mutant }: Options): Promise<Survival> {
  const cleaning: (() => Promise<void>)[] = [];
  try {
    const server = await startServer({ settings: { max_prepared_transactions: 50 } });
    cleaning.push(() => server.stop());
    await fault.prepare?.(server);
    const pool = new pg.Pool({ connectionString: server.url(), max: 1 });
    await pool.query(`CREATE DATABASE ${DATABASE}`);
    await pool.end();
    const url = server.url(DATABASE);
    const inside = new pg.Pool({ connectionString: url, max: 1 });
    await createLoadedDatabase(inside, url);
    await mutantNamed(mutant)?.prepare?.(inside);
    await inside.end();

    const proxy = await Proxy.to(server.port);
    cleaning.push(() => proxy.close());
    const cacheUrl = proxy.through(url);
    const load = new Load({
      url,
      cacheUrl,
      readUrl: fault.computationsThroughProxy ? cacheUrl : url,
      poolSize: fault.poolSize,
      bounds: [0, delta],
      sessions: 12,
      writes: 100,
      seed: 1,
      mutant,
    });
    cleaning.push(() => load.abort());
    if ((await load.untilHitting(20_000)) === null) throw new Error('the caches do not even become warm');
    const start = now();
    await pause(seconds * 200);
    await fault.happen({ server, proxy, load, delta, finally: (clean) => cleaning.push(clean) });
    const recovered = await load.untilHitting(MOST_MS_TO_RECOVER);
    await pause(Math.max(seconds * 300, seconds * 1_000 - (now() - start)));
    return { recovered, reports: await load.finish() };
  } finally {
    for (const clean of cleaning.reverse()) await clean();
  }
}

/** What is wrong with what a process reported, one line each. */
function faultsOf(fault: Fault, { violations, surfaced, slowest }: ReaderReport): string[] {
  return [
    ...violations.slice(0, 3).map((violation) => JSON.stringify(violation)),
    ...surfaced.slice(0, 3).map((error) => `an error of the cache's own reached a caller: ${error}`),
    ...(slowest > (fault.mostPerRead ?? Infinity) ? [`a read took ${Math.round(slowest)} ms`] : []),
  ];
}

/** A server that is stopped altogether: what is wrong, one line each. */
async function hung(seconds: number): Promise<string[]> {
  const server = await startServer();
  try {
    const { calls, added, recovered, mostConnections, wrong } = await surviveHang(server, seconds * 1_000);
    console.log(
      `${HUNG} for ${seconds} s: ${calls} cached calls, the slowest ${Math.round(added.slowest)} ms slower than the slowest bare one, ${Math.round(added.onceOpen)} ms with the breaker open; hits again after ${recovered === null ? 'TOO LONG' : `${Math.round(recovered)} ms`}; ${mostConnections} connections`,
    );
    return wrong.map((text) => `${HUNG}: ${text}`);
  } finally {
    await server.stop();
  }
}

function parse(): { chosen: readonly Fault[]; hangs: number | null; options: Options } {
  const { values } = parseArgs({
    options: {
      only: { type: 'string' },
      seconds: { type: 'string', default: '5' },
      delta: { type: 'string', default: '50' },
      hang: { type: 'string', default: '30' },
      mutant: { type: 'string' },
    },
  });
  const { only } = values;
  const chosen = only === undefined ? faults : faults.filter(({ name }) => name.includes(only));
  const isHung = only === undefined || HUNG.includes(only);
  if (chosen.length === 0 && !isHung) throw new Error(`there is no fault '${only}'\n${USAGE}`);
  const [seconds, delta, hang] = [Number(values.seconds), Number(values.delta), Number(values.hang)];
  if (!(seconds > 0 && delta > 0)) throw new Error(`--seconds and --delta take positive numbers\n${USAGE}`);
  if (!(hang >= 3)) throw new Error(`--hang takes seconds, 3 at least\n${USAGE}`);
  return { chosen, hangs: isHung ? hang : null, options: { seconds, delta, mutant: mutantNamed(values.mutant)?.name } };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    const { chosen, hangs, options } = parse();
    const line = (...cells: (string | number)[]): void =>
      console.log(
        cells.map((cell, index) => (index === 0 ? String(cell).padEnd(45) : String(cell).padStart(11))).join(''),
      );
    line('fault', 'mode', 'reads', 'violations', 'slowest ms', 'recovered');
    const wrong: string[] = [];
    for (const fault of chosen) {
      const { recovered, reports } = await survive(fault, options);
      for (const report of reports) {
        const { boundMs, reads, violations, surfaced, slowest } = report;
        const back = recovered === null ? 'TOO LATE' : `${Math.round(recovered)} ms`;
        line(
          fault.name,
          boundMs ? 'bounded' : 'strict',
          reads,
          violations.length + surfaced.length,
          Math.round(slowest),
          back,
        );
        wrong.push(...faultsOf(fault, report).map((text) => `${fault.name}: ${text}`));
      }
      if (recovered === null) wrong.push(`${fault.name}: no hits again after ${MOST_MS_TO_RECOVER} ms`);
    }
    if (hangs !== null) wrong.push(...(await hung(hangs)));
    for (const text of wrong) console.log(text);
    process.exitCode = wrong.length > 0 ? 1 : 0;
  } catch (error) {
    console.error((error as Error).stack);
    process.exitCode = 2;
  }
}
