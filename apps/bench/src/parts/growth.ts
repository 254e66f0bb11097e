import { PostgresCache } from 'nestjs-result-cache';
import { type Bench } from '../bench.js';
import { Crew } from '../crew.js';
import { GrownCache, TIERS, type Size } from '../members/grown-cache.js';
import { type GrownReads } from '../members/growth.js';
import { type Report } from '../report.js';
import { measure, type Contender, type Measured } from '../rounds.js';
import { type Target } from '../targets.js';
import { valueOf } from '../values.js';
import { fillOf, inBatches, ROWS } from './fills.js';

const CALLERS = 64;
const PROCESSES = 4;

/** What grows, and the names of the contenders without and with it. */
type Growth = readonly [what: string, from: string, to: string];

/** What ten times as much costs a read, and a fill; and how much several processes read together. */
export async function growth(bench: Bench): Promise<Target[]> {
  await readsBySize(bench);
  await fillsByTags(bench);
  return [];
}

async function readsBySize(bench: Bench): Promise<void> {
  const { report, rounds, ms } = bench;
  const base: Size = { entries: bench.quick ? 1_000 : 10_000, tags: 1, tenants: 0 };
  const moreEntries = { ...base, entries: 10 * base.entries };
  const moreTags = { ...base, tags: 10 };
  const someTenants = { ...base, tenants: 10 };
  const moreTenants = { ...base, tenants: 100 };
  const sizes = [base, moreEntries, moreTags, someTenants, moreTenants];
  const crews = new Map<Size, Crew<GrownReads, number>>();
  try {
    for (const size of sizes) crews.set(size, await readers(bench, size, size === base ? PROCESSES : 1));
    for (const tier of TIERS) {
      const reads = (size: Size, processes: number): Contender => ({
        name: nameOf(size, processes),
        run: async (forMs) => {
          const rates = await crews.get(size)!.do({ tier, callers: CALLERS, ms: forMs }, processes);
          return rates.reduce((sum, rate) => sum + rate, 0);
        },
      });
      const contenders = [...sizes.map((size) => reads(size, 1)), reads(base, PROCESSES)];
      const rates = await measure(contenders, rounds, ms);
      report.rates(`growth, ${tier}, ${CALLERS} callers in each process`, rates);
      tell(report, `growth of a read's cost, ${tier}`, rates, [
        ['10× entries', nameOf(base), nameOf(moreEntries)],
        ['10× tags per entry', nameOf(base), nameOf(moreTags)],
        ['10× tenants', nameOf(someTenants), nameOf(moreTenants)],
      ]);
      const together = rates.get(nameOf(base, PROCESSES))!.median / rates.get(nameOf(base))!.median;
      report.figure('growth of reads a second', 'x', `${tier}: ${PROCESSES} processes on this machine`, together);
    }
  } finally {
    for (const crew of crews.values()) await crew.stop();
  }
}

/** Fill a cache, and start processes that read it: none of another size, which would pay for this one's heap. */
async function readers({ environment }: Bench, size: Size, processes: number): Promise<Crew<GrownReads, number>> {
  const { postgresUrl } = environment;
  const cache = await GrownCache.open(postgresUrl, size);
  await cache.fill().finally(() => cache.close());
  return Crew.start(new URL('../members/growth.ts', import.meta.url), processes, { postgresUrl, size });
}

function nameOf({ entries, tags, tenants }: Size, processes = 1): string {
  return [
    `${entries.toLocaleString('en-US')} entries`,
    ...(tags === 1 ? [] : [`${tags} tags each`]),
    ...(tenants === 0 ? [] : [`${tenants} tenants`]),
    ...(processes === 1 ? [] : [`${processes} processes`]),
  ].join(', ');
}

async function fillsByTags({ environment, report, rounds, ms }: Bench): Promise<void> {
  const store = new PostgresCache({ connection: environment.postgresUrl, tableName: 'bench_growth_fills' });
  await store.initialize();
  const json = JSON.stringify(valueOf(1_000, 1));
  const { fence } = (await store.exchange({ since: null, keys: [] }))!;
  const [one, ten] = ['1 tag', '10 tags'] as const;
  const fills = (name: string, count: number): Contender => {
    const tags = Array.from({ length: count }, (_, index) => `tag_${index}`);
    return inBatches(name, (keys) => store.fill(keys.map((key) => fillOf(key, json, fence, { tags }))));
  };
  const rates = await measure([fills(one, 1), fills(ten, 10)], rounds, ms);
  await store.close();
  report.rates(`growth, fills, batches of ${ROWS} values of 1 kB`, rates);
  tell(report, "growth of a fill's cost", rates, [['10× tags per entry', one, ten]]);
}

/** By which factor an operation takes longer. */
function tell(report: Report, title: string, rates: ReadonlyMap<string, Measured>, growths: readonly Growth[]): void {
  for (const [what, from, to] of growths)
    report.figure(title, 'x', what, rates.get(from)!.median / rates.get(to)!.median);
}
