import { fork } from 'node:child_process';
import { once } from 'node:events';
import { parseArgs } from 'node:util';
import { fileURLToPath } from 'node:url';
import { check } from './consistency.js';
import { mutantNamed, mutants } from './mutants.js';
import { type Played } from './play-scenarios.js';

const USAGE = 'npm run check:mutants -- [--only NAME] [--seconds 10]';

async function play(mutant: string | undefined): Promise<Played> {
  const child = fork(fileURLToPath(new URL('./play-scenarios.ts', import.meta.url)));
  child.send({ mutant });
  const result = await Promise.race([
    once(child, 'message').then(([message]) => message as Played),
    once(child, 'exit').then(([code]) => `ended with ${code}`),
  ]);
  if (typeof result === 'string') throw new Error(`playing the scenarios ${result}`);
  return result;
}

/** Whether the checks notice a mutant, and how: first by the scenarios, then under load. */
async function caught(mutant: string, seconds: number): Promise<string | null> {
  const { failed } = await play(mutant);
  if (failed) return `"${failed.scenario}"`;
  const { violations } = await check({
    seconds,
    seed: 1,
    processes: 2,
    mode: 'strict',
    delta: 50,
    sessions: 16,
    writes: 100,
    mutant,
  });
  return violations[0] ? `${violations[0].rule} under load` : null;
}

try {
  const { values } = parseArgs({ options: { only: { type: 'string' }, seconds: { type: 'string', default: '10' } } });
  const chosen = values.only === undefined ? mutants : [mutantNamed(values.only)!];
  const control = await play(undefined);
  if (control.failed) throw new Error(`without a mutant "${control.failed.scenario}" fails: ${control.failed.message}`);
  console.log('none                  passes');
  let survivors = 0;
  for (const { name, mistake } of chosen) {
    const how = await caught(name, Number(values.seconds));
    if (how === null) survivors++;
    console.log(`${name.padEnd(21)} ${how === null ? `SURVIVED: ${mistake}` : `caught by ${how}`}`);
  }
  console.log(`${chosen.length - survivors} of ${chosen.length} mutants caught`);
  process.exitCode = survivors > 0 ? 1 : 0;
} catch (error) {
  console.error(`${(error as Error).message}\n${USAGE}`);
  process.exitCode = 2;
}
