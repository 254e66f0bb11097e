import { fork, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { PostgresCache } from 'nestjs-result-cache';
import { now, type Timeline, type Write } from './history.js';
import { Random } from './random.js';
import { type ReaderAnswer, type ReaderCommand, type ReaderReport } from './reader.js';
import { createRegisters, readRegisters, WATCH, Writer } from './registers.js';

export interface LoadOptions {
  /** Where writers write, and computations read unless `readUrl` is given. */
  url: string;
  /** Where computations read: the same database, perhaps through a proxy. */
  readUrl?: string;
  /** Where the readers' caches live: the same database, perhaps through a proxy. */
  cacheUrl?: string;
  /** Connections of each reader's cache. Default 4. */
  poolSize?: number;
  /** Milliseconds that reads wait for the cache's database. Default 250, as everybody's. */
  timeout?: number;
  /** The bound of each reading process in milliseconds; 0 for strict. As many processes as numbers. */
  bounds: readonly number[];
  /** Readers at a time in each process. */
  sessions: number;
  /** Writes a second, by all writers. */
  writes: number;
  seed: number;
  mutant?: string;
}

const WRITERS = 8;

/** Two tables of registers, and the cache on them. */
export async function createLoadedDatabase(pool: pg.Pool, url: string): Promise<void> {
  await createRegisters(pool);
  const store = new PostgresCache({ connection: url, watch: WATCH });
  await store.initialize();
  await store.close();
}

/** Readers in processes of their own, and writers here, until told to stop: then every read is held against every write. */
export class Load {
  /** One that does not write by itself: its registers are for whoever makes a load fail. */
  readonly reserve: Writer;
  private readonly readers: ChildProcess[];
  private readonly writers: Writer[];
  private readonly writing = new Set<Promise<void>>();
  private readonly pools: pg.Pool[] = [];
  private readonly timelines: Timeline[] = [];
  private isWriting = false;
  /** What the present timeline began with, and when. */
  private began: { at: number; with: Write[]; writes: number[] } = { at: -Infinity, with: [], writes: [] };

  constructor(private readonly options: LoadOptions) {
    const pool = this.poolTo(options.url);
    const writers = Array.from(
      { length: WRITERS + 1 },
      (_, index) => new Writer(pool, index, WRITERS + 1, new Random(options.seed * 7_919 + index)),
    );
    this.reserve = writers.pop()!;
    this.writers = writers;
    this.readers = options.bounds.map((boundMs, index) => this.startReader(boundMs, index));
    this.write();
  }

  /** Tell all reading processes something. */
  send(command: ReaderCommand): void {
    for (const reader of this.readers) reader.send(command);
  }

  /** Tell all, and wait for each one's answer. @throws where a process ends instead, or takes too long */
  async ask<K extends ReaderAnswer['is']>(
    command: ReaderCommand,
    is: K,
    withinMs = 30_000,
  ): Promise<Extract<ReaderAnswer, { is: K }>[]> {
    const answers = this.readers.map((reader, index) => answered(reader, index, is, withinMs));
    this.send(command);
    return Promise.all(answers);
  }

  /** Wait until every process is served from memory and from the table. Resolves with the milliseconds it took, or `null`. */
  async untilHitting(withinMs: number): Promise<number | null> {
    const since = now();
    try {
      await this.ask({ do: 'tell when hitting' }, 'hitting', withinMs);
      return now() - since;
    } catch (error) {
      if (error instanceof TooLateError) return null;
      throw error;
    }
  }

  /** Let writers go on writing. */
  write(): void {
    this.isWriting = true;
    const pauseMs = (WRITERS * 1_000) / this.options.writes;
    for (const writer of this.writers) {
      const running: Promise<void> = writer
        .run(() => !this.isWriting, pauseMs)
        .finally(() => this.writing.delete(running));
      this.writing.add(running);
    }
  }

  /** Let writers end what they are at, and wait. */
  async hold(): Promise<void> {
    this.isWriting = false;
    await Promise.all(this.writing);
  }

  /**
   * The database was taken back to an earlier state while nobody wrote: what is there now is what readers may see from
   * `from` on. @param url Where it is now, if elsewhere.
   */
  async rewound(stoppedAt: number, url = this.options.url): Promise<void> {
    this.endTimeline(stoppedAt);
    const pool = this.poolTo(url);
    for (const writer of this.allWriters) writer.pool = pool;
    this.began = {
      at: Infinity,
      with: await readRegisters(pool),
      writes: this.allWriters.map(({ writes }) => writes.length),
    };
  }

  /** Readers can reach what {@link rewound} found: from now on they may see nothing else. */
  reachable(): void {
    this.began.at = now();
  }

  /** Stop everybody and hold every read against what was written. */
  async finish(): Promise<ReaderReport[]> {
    await this.ask({ do: 'stop' }, 'stopped');
    await this.hold();
    this.endTimeline(Infinity);
    const answers = await this.ask({ do: 'verify', timelines: this.timelines }, 'report', 120_000);
    return answers.map(({ report }) => report);
  }

  /** How many writes were attempted. */
  get attempted(): number {
    return this.allWriters.reduce((sum, { writes }) => sum + writes.length, 0);
  }

  /** End all processes and connections, whatever they are at. */
  async abort(): Promise<void> {
    this.isWriting = false;
    for (const reader of this.readers) reader.kill('SIGKILL');
    await Promise.all(this.pools.map((pool) => pool.end()));
  }

  private poolTo(url: string): pg.Pool {
    const pool = new pg.Pool({ connectionString: url, max: WRITERS + 2, connectionTimeoutMillis: 5_000 });
    pool.on('error', () => undefined);
    // pg tells of a connection that is cut while it is held by an event of the client, too.
    pool.on('connect', (client) => void client.on('error', () => undefined));
    this.pools.push(pool);
    return pool;
  }

  private get allWriters(): Writer[] {
    return [...this.writers, this.reserve];
  }

  private endTimeline(until: number): void {
    const { at, with: first, writes } = this.began;
    const since = this.allWriters.flatMap((writer, index) => writer.writes.slice(writes[index] ?? 0));
    this.timelines.push({ from: at, until, writes: [...first, ...since] });
  }

  private startReader(boundMs: number, index: number): ChildProcess {
    const { url, readUrl = url, cacheUrl = url, poolSize = 4, timeout = 250, sessions, seed, mutant } = this.options;
    const reader = fork(fileURLToPath(new URL('./reader.ts', import.meta.url)), { serialization: 'advanced' });
    const task = { url: readUrl, cacheUrl, poolSize, timeout, process: index, sessions, seed, boundMs, mutant };
    reader.send({ do: 'start', task } satisfies ReaderCommand);
    return reader;
  }
}

class TooLateError extends Error {}

function answered<K extends ReaderAnswer['is']>(
  reader: ChildProcess,
  index: number,
  is: K,
  withinMs: number,
): Promise<Extract<ReaderAnswer, { is: K }>> {
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      clearTimeout(timer);
      reader.off('message', onMessage);
      reader.off('exit', onExit);
    };
    const onMessage = (message: ReaderAnswer): void => {
      if (message.is !== is) return;
      stop();
      resolve(message as Extract<ReaderAnswer, { is: K }>);
    };
    const onExit = (code: number | null): void => {
      stop();
      reject(new Error(`reader ${index} ended with ${code} before it was "${is}"`));
    };
    const timer = setTimeout(() => {
      stop();
      reject(new TooLateError(`reader ${index} is not "${is}" after ${withinMs} ms`));
    }, withinMs);
    reader.on('message', onMessage);
    reader.on('exit', onExit);
    if (reader.exitCode !== null) onExit(reader.exitCode);
  });
}
