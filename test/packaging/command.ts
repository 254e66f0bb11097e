import { execFile } from 'node:child_process';

/** What the children of a test run get: npm's own variables describe this workspace, and would mislead an npm in another folder. */
export const environment: NodeJS.ProcessEnv = Object.fromEntries(
  Object.entries(process.env).filter(
    ([name]) => !/^(npm_(package|lifecycle|command|execpath)|INIT_CWD|NODE_OPTIONS|NODE_ENV|JEST_)/.test(name),
  ),
);

/** Exit code and everything that was printed. */
export interface Ended {
  code: number;
  output: string;
}

/** Run a command to its end, whatever that is. */
export async function run(
  command: string,
  args: readonly string[],
  cwd: string,
  env: NodeJS.ProcessEnv = {},
): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(command, args, { cwd, env: { ...environment, ...env }, maxBuffer: 1 << 26 }, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : 1;
      // The error repeats what was printed, except where nothing ran.
      resolve({ code, output: `${stdout}${stderr}` || (error?.message ?? '') });
    });
  });
}

/** @throws Error with everything that was printed, if it ends with anything but 0. */
export async function succeed(...[command, args, cwd, env]: Parameters<typeof run>): Promise<string> {
  const { code, output } = await run(command, args, cwd, env);
  if (code !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${code}:\n${output}`);
  return output;
}
