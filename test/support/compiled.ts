import { transformFile } from '@swc/core';
import { fork, type ChildProcess } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../', import.meta.url));
const source = join(root, 'libs/result-cache/src');

/** `core/` and `postgres/` as plain JavaScript, for processes of their own: node cannot run TypeScript. */
export interface CompiledLibrary {
  /** Start a process on this module's text, which imports from `./core/index.js` and `./postgres/index.js`. */
  fork(name: string, text: string): Promise<ChildProcess>;
  remove(): Promise<void>;
}

/** Compiled from the sources as they are now: a `dist` that somebody built earlier would be tested in their place. */
export async function compileLibrary(): Promise<CompiledLibrary> {
  // Inside the workspace, so that its packages are found.
  const cache = join(root, 'node_modules/.cache');
  await mkdir(cache, { recursive: true });
  const folder = await mkdtemp(join(cache, 'result-cache-'));
  await writeFile(join(folder, 'package.json'), '{ "type": "module" }');
  for (const part of ['core', 'postgres']) await compileFolder(part, folder);
  await cp(join(source, 'postgres/sql'), join(folder, 'postgres/sql'), { recursive: true });
  return {
    fork: async (name, text) => {
      const path = join(folder, name);
      await writeFile(path, text);
      return fork(path, { execArgv: [] });
    },
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}

async function compileFolder(part: string, target: string): Promise<void> {
  for (const file of await readdir(join(source, part), { recursive: true })) {
    if (!file.endsWith('.ts') || file.endsWith('.spec.ts')) continue;
    const { code } = await transformFile(join(source, part, file), {
      swcrc: false,
      jsc: { target: 'es2023', parser: { syntax: 'typescript' } },
      module: { type: 'es6' },
    });
    const path = join(target, part, file.replace(/\.ts$/, '.js'));
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, code);
  }
}
