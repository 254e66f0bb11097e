import { once } from 'node:events';
import { startServer, type EmbeddedServer } from '@workspace/embedded-server';
import pg from 'pg';
import { mutantNamed } from './mutants.js';
import { scenarios, Stage } from './scenarios.js';

/** What the parent is told: the first scenario that failed, if one did. */
export interface Played {
  failed?: { scenario: string; message: string };
}

const TIMEOUT_MS = 20_000;

/** Play all scenarios in this process, with the mutant the parent names in the code; stop at the first that fails. */
async function main(): Promise<void> {
  const [{ mutant: name }] = (await once(process, 'message')) as [{ mutant?: string }];
  const mutant = mutantNamed(name);
  mutant?.apply?.();
  const server = await startServer({ settings: { max_prepared_transactions: 10 } });
  const played: Played = {};
  try {
    for (const [index, { name: scenario, run }] of scenarios.entries()) {
      const stage = await Stage.set(await newDatabase(server, index), server, mutant?.prepare);
      try {
        await Promise.race([run(stage), timeout()]);
      } catch (error) {
        played.failed = { scenario, message: (error as Error).message };
        break;
      }
      await stage.close();
    }
  } finally {
    await server.stop();
  }
  process.send!(played, () => process.exit(0));
}

async function newDatabase(server: EmbeddedServer, index: number): Promise<string> {
  const client = new pg.Client({ connectionString: server.url() });
  await client.connect();
  await client.query(`CREATE DATABASE scenario_${index}`);
  await client.end();
  return server.url(`scenario_${index}`);
}

function timeout(): Promise<never> {
  return new Promise((_, reject) =>
    setTimeout(() => reject(new Error(`not done after ${TIMEOUT_MS} ms`)), TIMEOUT_MS).unref(),
  );
}

await main();
