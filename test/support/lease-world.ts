import { type LeaseStore } from 'nestjs-result-cache';
import { fork, type ChildProcess } from 'node:child_process';
import { on, once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type pg from 'pg';
import { type TestDatabase } from './database.js';
import { type CallerMessage } from './lease-process.js';

/** What computations read, and what they leave behind so that they can be counted. */
export const TABLES = `CREATE TABLE source (v int); INSERT INTO source VALUES (1);
  CREATE TABLE computations (key text, pid int)`;
export const WATCH = [{ table: 'source', domain: 'source' }];

/** The advisory lock that computations of {@link CallerProcess} wait for. */
export const GATE = 4_711;

/** Closes the gate; the function returned opens it. */
export async function closeGate({ pool }: TestDatabase): Promise<() => Promise<void>> {
  const client = await pool.connect();
  await client.query(`SELECT pg_advisory_lock(${GATE})`);
  return async () => {
    await client.query(`SELECT pg_advisory_unlock(${GATE})`);
    client.release();
  };
}

const children: ChildProcess[] = [];

/** A process of its own that calls as many times as it is told. */
export class CallerProcess {
  private constructor(private readonly child: ChildProcess) {}

  static async start(url: string): Promise<CallerProcess> {
    const path = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
    const child = fork(path('./lease-process.ts'), [url], { execArgv: ['--import', path('./register-ts.mjs')] });
    children.push(child);
    const started = new CallerProcess(child);
    await started.message('ready');
    return started;
  }

  static stopAll(): void {
    for (const child of children.splice(0)) child.kill();
  }

  /** Call a key; resolves when the lease was asked for. `done` resolves with what the callers got. */
  async call(key: string, callers: number): Promise<{ isGranted: boolean; done: Promise<unknown[]> }> {
    const claimed = this.message('claimed');
    const done = this.message('done').then(({ values }) => values);
    // Of one that is killed nobody waits for this.
    done.catch(() => undefined);
    this.child.send({ call: key, callers });
    return { isGranted: (await claimed).isGranted, done };
  }

  /** End it as the system does to a process that takes too much memory. */
  async kill(): Promise<void> {
    const ended = once(this.child, 'exit');
    this.child.kill('SIGKILL');
    await ended;
  }

  private async message<K extends CallerMessage['is']>(kind: K): Promise<Extract<CallerMessage, { is: K }>> {
    const stop = new AbortController();
    this.child.once('exit', () => stop.abort(new Error('the process has ended')));
    for await (const [message] of on(this.child, 'message', { signal: stop.signal }) as AsyncIterable<[CallerMessage]>)
      if (message.is === kind) return message as Extract<CallerMessage, { is: K }>;
    throw new Error('the process has ended');
  }
}

export async function count(pool: pg.Pool, key: string): Promise<number> {
  const { rows } = await pool.query<{ n: number }>('SELECT count(*)::int AS n FROM computations WHERE key = $1', [key]);
  return rows[0]!.n;
}

/** Have the time of a lease be over: its clock is the database's. */
export async function age(pool: pg.Pool, key: string): Promise<void> {
  const { rowCount } = await pool.query(
    'UPDATE fraiseql_cache.fill_lease SET expires_at = clock_timestamp() WHERE cache_key = $1',
    [key],
  );
  if (rowCount !== 1) throw new Error(`nobody has the lease of ${key}`);
}

/** The number of a key's holder; `undefined` where nobody has the lease. */
export async function holder(pool: pg.Pool, key: string): Promise<number | undefined> {
  const { rows } = await pool.query<{ number: string }>(
    'SELECT number FROM fraiseql_cache.fill_lease WHERE cache_key = $1',
    [key],
  );
  return rows[0] && Number(rows[0].number);
}

/** Resolves with the next answer of this kind to a claim of the key. */
export function nextClaim(leases: LeaseStore, key: string, isGranted: boolean): Promise<void> {
  const claim = leases.claim.bind(leases);
  return new Promise((resolve) => {
    leases.claim = async (claims) => {
      const answers = await claim(claims);
      if (answers.get(key)?.isGranted === isGranted) resolve();
      return answers;
    };
  });
}
