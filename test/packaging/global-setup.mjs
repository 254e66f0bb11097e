import { execFile } from 'node:child_process';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import startServers from '../support/global-setup.mjs';

const run = promisify(execFile);
const workspace = ['--workspace', 'nestjs-result-cache'];

/** The real servers, and the package as `npm publish` would upload it. */
export default async function globalSetup(config) {
  // Built by its own hook, but apart: what a script prints would stand before the JSON.
  await run('npm', ['run', 'prepack', ...workspace]).catch(({ stdout, stderr }) => {
    throw new Error(`building the package failed:\n${stdout}${stderr}`);
  });
  const folder = await mkdtemp(join(tmpdir(), 'result-cache-package-'));
  const { stdout } = await run('npm', [
    'pack',
    ...workspace,
    '--ignore-scripts',
    '--json',
    '--pack-destination',
    folder,
  ]);
  const [packed] = JSON.parse(stdout);
  globalThis.packageFolder = folder;
  process.env.PACKAGE_TARBALL = join(folder, packed.filename);
  // Last, because jest does not tear down what a set-up that failed has started.
  await startServers(config);
}
