import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

const USAGE = 'npm run check:fuzz -- [--runs 1000000] [--seed 1]';
const root = new URL('../..', import.meta.url).pathname;

/** The specs whose properties are counted: those that hold one by `fuzz()`. */
async function specs(): Promise<string[]> {
  const found: string[] = [];
  for (const folder of ['libs/result-cache/src', 'test'])
    for (const file of await readdir(join(root, folder), { recursive: true }))
      if (file.endsWith('.spec.ts') && (await readFile(join(root, folder, file), 'utf8')).includes('support/fuzz.js'))
        found.push(join(folder, file));
  return found;
}

/** One round is what `npm test` holds, with a seed of its own. Returns the number of cases, or `null` if one failed. */
async function round(files: readonly string[], seed: number, counts: string): Promise<number | null> {
  await rm(counts, { force: true });
  const child = spawn('npm', ['test', '--silent', '--', ...files], {
    cwd: root,
    env: { ...process.env, FUZZ_SEED: String(seed), FUZZ_COUNTS: counts },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text: Buffer) => (output += text.toString()));
  const [code] = (await once(child, 'exit')) as [number | null];
  if (code !== 0) {
    console.error(output);
    return null;
  }
  const text = await readFile(counts, 'utf8').catch(() => '');
  return text.split('\n').reduce((sum, line) => sum + Number(line), 0);
}

/** Rounds with one seed after the other, until so many cases have held. */
async function check(runs: number, first: number): Promise<boolean> {
  const files = await specs();
  const directory = await mkdtemp(join(tmpdir(), 'fuzz-'));
  try {
    let held = 0;
    for (let seed = first; held < runs; seed++) {
      const cases = await round(files, seed, join(directory, 'counts'));
      if (cases === null || cases === 0) {
        console.error(`A property failed. Again: npm run check:fuzz -- --runs 1 --seed ${seed}`);
        return false;
      }
      held += cases;
      console.log(`seed ${seed}: ${cases} cases held, ${held} in all`);
    }
    return true;
  } finally {
    await rm(directory, { recursive: true });
  }
}

try {
  const { values } = parseArgs({
    options: { runs: { type: 'string', default: '1000000' }, seed: { type: 'string' } },
  });
  // From here on everything follows from it.
  const seed = values.seed === undefined ? Date.now() % 1_000_000_000 : Number(values.seed);
  const runs = Number(values.runs);
  if (!Number.isSafeInteger(seed) || !(runs > 0)) throw new Error('--runs and --seed are whole numbers');
  process.exitCode = (await check(runs, seed)) ? 0 : 1;
} catch (error) {
  console.error(`${(error as Error).message}\n${USAGE}`);
  process.exitCode = 2;
}
