import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import { freePort } from '@workspace/embedded-server';
import { environment } from './command.js';

const DEADLINE_MS = 30_000;

/** An application of a project, running as a process of its own. */
export class ServedApp {
  private output = '';

  private constructor(
    private readonly child: ChildProcess,
    private readonly port: number,
  ) {
    for (const stream of [child.stdout, child.stderr])
      stream?.setEncoding('utf8').on('data', (text: string) => (this.output += text));
  }

  /**
   * Start a compiled `main.js` and wait until it answers.
   * @throws Error with everything that it printed, if it does not.
   */
  static async start(main: string, cwd: string, env: NodeJS.ProcessEnv): Promise<ServedApp> {
    const port = await freePort();
    const child = spawn(process.execPath, [main], { cwd, env: { ...environment, ...env, PORT: String(port) } });
    const app = new ServedApp(child, port);
    try {
      await app.until('answers', () => app.get('/').then(() => true));
    } catch (error) {
      await app.stop();
      throw error;
    }
    return app;
  }

  async get(path: string, tenant?: string): Promise<Response> {
    const headers: Record<string, string> = tenant === undefined ? {} : { 'x-tenant-id': tenant };
    return fetch(`http://127.0.0.1:${this.port}${path}`, { headers });
  }

  /** Ask until an answer is as wanted: an entry is stored just after its response was sent. */
  async getUntil(path: string, tenant: string, wanted: (response: Response) => boolean): Promise<Response> {
    let latest: Response | undefined;
    await this.until(`GET ${path} is as wanted`, async () => wanted((latest = await this.get(path, tenant))));
    return latest!;
  }

  /** For messages: what the process printed up to now. */
  get printed(): string {
    return this.output;
  }

  /** Stop as an orchestrator would. Resolves to the exit code, or the signal that ended it. */
  async stop(): Promise<number | string> {
    if (this.child.exitCode === null && this.child.signalCode === null) {
      this.child.kill('SIGTERM');
      await once(this.child, 'exit', { signal: AbortSignal.timeout(DEADLINE_MS) });
    }
    return this.child.exitCode ?? this.child.signalCode!;
  }

  private async until(what: string, holds: () => Promise<boolean>): Promise<void> {
    const deadline = Date.now() + DEADLINE_MS;
    let trouble: unknown = 'not so';
    while (Date.now() < deadline && this.child.exitCode === null && this.child.signalCode === null) {
      try {
        if (await holds()) return;
      } catch (error) {
        trouble = error;
      }
      await pause(20);
    }
    throw new Error(`the application never came to "${what}" (${String(trouble)}); it printed:\n${this.output}`);
  }
}
