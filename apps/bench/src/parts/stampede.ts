import { randomUUID } from 'node:crypto';
import { type Bench } from '../bench.js';
import { sharingContenders, WITH_LEASES, WITHOUT_LEASES } from '../contenders/keyed.js';
import { Crew } from '../crew.js';
import { type Stampede, type StampedeTask } from '../members/stampede.js';
import { type Target } from '../targets.js';

const CALLERS = 1_000;
/** All callers in one process, or shared out among several. */
const MOST = 4;
const PROCESSES = [1, MOST];
const TITLE = `stampede, ${CALLERS.toLocaleString('en-US')} callers on a cold key`;

/** How often a value is computed that is missing when everybody asks for it at once; the worst of all rounds. */
export async function stampede({ environment, report, rounds }: Bench): Promise<Target[]> {
  const { postgresUrl, redisUrl } = environment;
  const module = new URL('../members/stampede.ts', import.meta.url);
  const crew = await Crew.start<StampedeTask, Stampede, number | null>(module, MOST, {
    servers: { postgresUrl, redisUrl },
    processes: MOST,
  });
  const most = new Map<string, number>();
  try {
    for (let round = 0; round < rounds; round++)
      for (const { name } of sharingContenders)
        for (const processes of PROCESSES) {
          const order = { contender: name, key: `stampede:${randomUUID()}`, callers: CALLERS / processes };
          const counts = (await crew.do(order, processes)).filter((count) => count !== null);
          if (counts.length === 0) continue;
          const row = rowOf(name, processes);
          const computations = counts.reduce((sum, count) => sum + count, 0);
          if (computations === 0) throw new Error(`${row}: nobody computed a value that nobody had`);
          most.set(row, Math.max(most.get(row) ?? 0, computations));
        }
  } finally {
    await crew.stop();
  }
  console.log(`\n${TITLE}`);
  for (const { name } of sharingContenders)
    for (const processes of PROCESSES) {
      const row = rowOf(name, processes);
      const computations = most.get(row);
      if (computations === undefined) report.notMeasured(TITLE, row, 'there is no Redis here');
      else report.figure(TITLE, 'computations', row, computations);
    }
  const target = (what: string, name: string, processes: number): Target => ({
    what: `${TITLE} ${what}: computations`,
    goal: 1,
    measured: most.get(rowOf(name, processes)) ?? null,
    atLeast: false,
  });
  return [target('in one process', WITHOUT_LEASES, 1), target(`in ${MOST} processes, with leases`, WITH_LEASES, MOST)];
}

function rowOf(name: string, processes: number): string {
  return `${name}, ${processes === 1 ? 'one process' : `${processes} processes`}`;
}
