import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { type Bench } from './bench.js';
import { startEnvironment } from './environment.js';
import { cascade } from './parts/cascade.js';
import { decorator } from './parts/decorator.js';
import { fills } from './parts/fills.js';
import { growth } from './parts/growth.js';
import { http } from './parts/http.js';
import { invalidation } from './parts/invalidation.js';
import { memory } from './parts/memory.js';
import { mixed } from './parts/mixed.js';
import { purge } from './parts/purge.js';
import { reads } from './parts/reads.js';
import { stampede } from './parts/stampede.js';
import { startup } from './parts/startup.js';
import { strategies } from './parts/strategies.js';
import { writers } from './parts/writers.js';
import { writePage } from './page.js';
import { Report } from './report.js';
import { type Target } from './targets.js';

const PARTS: Record<string, (bench: Bench) => Promise<Target[]>> = {
  reads,
  fills,
  decorator,
  writers,
  cascade,
  mixed,
  stampede,
  purge,
  invalidation,
  memory,
  startup,
  growth,
  http,
  strategies,
};
const USAGE = `npm run bench -- [${Object.keys(PARTS).join('|')}] [--quick] [--assert] [--page]`;

try {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      quick: { type: 'boolean', default: false },
      assert: { type: 'boolean', default: false },
      page: { type: 'boolean', default: false },
    },
  });
  const chosen = positionals.length > 0 ? positionals : Object.keys(PARTS);
  const unknown = chosen.find((part) => !Object.hasOwn(PARTS, part));
  if (unknown !== undefined) throw new Error(`there is no part '${unknown}'`);
  const report = new Report();
  const environment = await startEnvironment();
  try {
    const pace = values.quick ? { rounds: 3, ms: 200 } : { rounds: 5, ms: 500 };
    for (const part of chosen) {
      console.log(`\n== ${part}`);
      report.add(await PARTS[part]!({ environment, report, quick: values.quick, ...pace }));
    }
  } finally {
    await environment.stop();
  }
  report.printTargets();
  const results = report.results(values.quick);
  writeFileSync('bench-results.json', `${JSON.stringify(results, null, 1)}\n`);
  if (values.page) await writePage(results, 'docs');
  if (values.assert && !report.isMet) process.exitCode = 1;
} catch (error) {
  console.error(`${(error as Error).message}\n${USAGE}`);
  process.exitCode = 2;
}
