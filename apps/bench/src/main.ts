import { parseArgs } from 'node:util';
import { startServer } from '@workspace/embedded-server';
import { cascade } from './parts/cascade.js';
import { writers } from './parts/writers.js';
import { met, printTargets, type Target } from './targets.js';

const PARTS = { cascade, writers };
const USAGE = `npm run bench -- [${Object.keys(PARTS).join('|')}] [--quick] [--assert]`;

try {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { quick: { type: 'boolean', default: false }, assert: { type: 'boolean', default: false } },
  });
  const chosen = positionals.length > 0 ? positionals : Object.keys(PARTS);
  const unknown = chosen.find((part) => !(part in PARTS));
  if (unknown !== undefined) throw new Error(`there is no part '${unknown}'`);
  // Durable commits, as in production: they are what writers that share a row wait for.
  const server = await startServer({ settings: { shared_buffers: '256MB', fsync: 'on', full_page_writes: 'on' } });
  const targets: Target[] = [];
  try {
    for (const part of chosen) {
      console.log(`\n== ${part}`);
      targets.push(
        ...(await PARTS[part as keyof typeof PARTS](
          server.url(),
          values.quick ? { rounds: 3, ms: 400 } : { rounds: 9, ms: 1_000 },
        )),
      );
    }
  } finally {
    await server.stop();
  }
  console.log('');
  printTargets(targets);
  if (values.assert && !targets.every(met)) process.exitCode = 1;
} catch (error) {
  console.error(`${(error as Error).message}\n${USAGE}`);
  process.exitCode = 2;
}
