import assert from 'node:assert/strict';
import pg from 'pg';
import { PostgresCache, ResultCache, type CacheStore, type Policy } from 'nestjs-result-cache';

/** Isolation levels, of the writer and of the transaction that a value is computed in. */
export const LEVELS = ['READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE'] as const;

/** One computation: its fence, what it reads from two tables in one transaction, and the moment it ends and is stored. */
export const FILLER = ['fence', 'read 1', 'read 2', 'store'] as const;

/** What somebody else does meanwhile. */
export const OBSERVER = ['compact', 'hit'] as const;

/** The ways a writer of both tables can go. */
export const WRITERS = {
  commit: ['write', 'commit'],
  'roll back': ['write', 'roll back'],
  'prepare and commit prepared': ['write', 'prepare', 'commit prepared'],
  'roll back to a savepoint and commit': ['write after savepoint', 'roll back to savepoint and commit'],
  // Another writer begins later and commits earlier, so that fences see the later and not the earlier.
  'be overtaken and commit': ['write', 'overtake', 'commit'],
} as const;

export type Step = (typeof FILLER)[number] | (typeof OBSERVER)[number] | (typeof WRITERS)[keyof typeof WRITERS][number];

/** Every order in which sequences can be merged. */
export function* merges<T>(...sequences: (readonly T[])[]): Generator<T[]> {
  const open = sequences.filter((sequence) => sequence.length > 0);
  if (open.length === 0) yield [];
  for (const sequence of open)
    for (const rest of merges(...open.map((other) => (other === sequence ? other.slice(1) : other))))
      yield [sequence[0]!, ...rest];
}

/** What happened over many orders, so that one can see that each possibility was met. */
export interface Tally {
  orders: number;
  hits: number;
  voids: number;
  /** Values computed from two states of the database. */
  torn: number;
}

/** One value being computed: at which levels, and what has become of it. */
interface Cell {
  filler: number;
  writer: number;
  key: string;
  finish: (value: [number, number]) => void;
  result: Promise<[number, number]>;
}

/**
 * Plays orders of steps. All pairs of levels are played side by side: nine values, of which each depends on the two
 * tables of its writer's level, computed in three transactions, while three writers write.
 */
export class Stage {
  readonly tally: Tally = { orders: 0, hits: 0, voids: 0, torn: 0 };
  private readonly fillers: pg.Client[] = [];
  private readonly writers: pg.Client[] = [];
  private readonly inFlight = new Set<Promise<unknown>>();
  /** The process that computes. */
  readonly one: ResultCache;
  /** A process that only reads. */
  readonly other: ResultCache;
  /** For each writer. Made once: a policy that has learnt its tags lets a value enter memory when it is computed. */
  readonly policies: Policy[];
  /** What the tables hold, as everybody sees it. */
  value = 0;

  private constructor(
    private readonly postgres: PostgresCache,
    readonly pool: pg.Pool,
  ) {
    this.one = this.process();
    this.other = this.process();
    this.policies = LEVELS.map((_, writer) => this.one.policy({ domains: tables(writer), ttl: 3_600 }));
  }

  static async set(url: string): Promise<Stage> {
    const pool = new pg.Pool({ connectionString: url });
    // The server may stop before the last connection has said goodbye.
    pool.on('error', () => undefined);
    const watch = LEVELS.flatMap((_, writer) => tables(writer)).map((table) => ({ table, domain: table }));
    for (const { table } of watch)
      await pool.query(
        `CREATE TABLE ${table} (id int PRIMARY KEY, v int NOT NULL); INSERT INTO ${table} VALUES (1, 0), (2, 0)`,
      );
    const postgres = new PostgresCache({ connection: url, watch });
    await postgres.initialize();
    const stage = new Stage(postgres, pool);
    for (const clients of [stage.fillers, stage.writers])
      while (clients.length < LEVELS.length) {
        const client = new pg.Client({ connectionString: url });
        await client.connect();
        clients.push(client);
      }
    return stage;
  }

  async close(): Promise<void> {
    await Promise.all([...this.fillers, ...this.writers].map((client) => client.end()));
    await this.postgres.close();
    await this.pool.end();
  }

  /** @throws an assertion error that names the order, where a read is not exactly what it must be. */
  async play(order: readonly Step[]): Promise<void> {
    const number = ++this.tally.orders;
    try {
      await new Play(this, number).run(order);
    } catch (error) {
      throw new Error(`${order.join(', ')}: ${(error as Error).message}`, { cause: error });
    }
  }

  /** A process that was told nothing yet and remembers nothing. */
  process(): ResultCache {
    return new ResultCache({ store: this.tracked() });
  }

  /** One statement per level, at once. */
  async onEach(role: 'fillers' | 'writers', text: (level: number) => string): Promise<number[][]> {
    return Promise.all(
      this[role].map(async (client, level) => {
        const results = (await client.query(text(level))) as unknown as pg.QueryResult<Record<string, number>>[];
        const rows = [results].flat().flatMap((result) => result.rows);
        return Object.values(rows[0] ?? {});
      }),
    );
  }

  /** Wait for what the engine does behind its callers' backs: a statement of one order must not run in the next. */
  async settle(): Promise<void> {
    while (this.inFlight.size > 0) await Promise.allSettled(this.inFlight);
  }

  /** A store of its own identity on the same pool, hence a process of its own to the engine. */
  private tracked(): CacheStore {
    return new Proxy<CacheStore>(this.postgres, {
      get: (target, property) => {
        const member: unknown = Reflect.get(target, property, target);
        if (typeof member !== 'function') return member;
        return (...args: unknown[]): unknown => {
          const result = (member as (...args: unknown[]) => unknown).apply(target, args);
          if (result instanceof Promise) {
            const tracked: Promise<unknown> = result.finally(() => this.inFlight.delete(tracked));
            this.inFlight.add(tracked);
            tracked.catch(() => undefined);
          }
          return result;
        };
      },
    });
  }
}

function tables(writer: number): string[] {
  return [`left_${writer}`, `right_${writer}`];
}

const all = (change: (table: string) => string): string =>
  LEVELS.flatMap((_, writer) => tables(writer))
    .map(change)
    .join('; ');
const select = (side: number): string =>
  `SELECT ${LEVELS.map((_, writer) => `(SELECT v FROM ${tables(writer)[side]} WHERE id = 1) AS v${writer}`).join()}`;

/** One order being played. */
class Play {
  private cells: Cell[] = [];
  private lefts: number[][] = [];
  private rights: number[][] = [];
  /** Whether the values are in the cache, and whether anything they depend on was committed since their fence. */
  private stored = false;
  private touched = false;
  /** The state that a transaction sees which began with the first read. */
  private seen = 0;
  private seenLater = 0;

  constructor(
    private readonly stage: Stage,
    private readonly number: number,
  ) {}

  async run(order: readonly Step[]): Promise<void> {
    for (const step of order) {
      await this.steps[step]();
      await this.stage.settle();
    }
    const { one, other } = this.stage;
    await this.read('the computing process', one);
    await this.read('another process', other);
    await this.read('a new process', this.stage.process());
    await this.stage.settle();
  }

  private readonly steps: Record<Step, () => Promise<unknown>> = {
    fence: () => this.fence(),
    'read 1': async () => {
      this.seen = this.stage.value;
      this.lefts = await this.stage.onEach(
        'fillers',
        (level) => `BEGIN ISOLATION LEVEL ${LEVELS[level]}; ${select(0)}`,
      );
    },
    'read 2': async () => {
      this.seenLater = this.stage.value;
      this.rights = await this.stage.onEach('fillers', () => `${select(1)}; COMMIT`);
    },
    store: () => this.store(),
    write: async () => this.write(''),
    'write after savepoint': async () => this.write('SAVEPOINT s;'),
    'roll back to savepoint and commit': async () => this.stage.onEach('writers', () => 'ROLLBACK TO s; COMMIT'),
    prepare: async () => this.stage.onEach('writers', (level) => `PREPARE TRANSACTION 'order ${level}'`),
    commit: async () => {
      await this.stage.onEach('writers', () => 'COMMIT');
      this.committed();
    },
    'commit prepared': async () => {
      await this.stage.onEach('writers', (level) => `COMMIT PREPARED 'order ${level}'`);
      this.committed();
    },
    'roll back': async () => this.stage.onEach('writers', () => 'ROLLBACK'),
    overtake: async () => {
      await this.stage.pool.query(all((table) => `UPDATE ${table} SET v = v + 1 WHERE id = 2`));
      this.touched = true;
    },
    compact: async () => this.stage.pool.query('SELECT fraiseql_cache.compact_log()'),
    hit: async () => {
      await this.read('the computing process', this.stage.one);
      await this.read('another process', this.stage.other);
      await this.read('a new process', this.stage.process());
    },
  };

  private async write(first: string): Promise<void> {
    await this.stage.onEach(
      'writers',
      (level) =>
        `BEGIN ISOLATION LEVEL ${LEVELS[level]}; ${first} ${tables(level)
          .map((table) => `UPDATE ${table} SET v = ${this.number} WHERE id = 1`)
          .join('; ')}`,
    );
  }

  private committed(): void {
    this.stage.value = this.number;
    this.touched = true;
  }

  /** Ask for all values; none is there, so all are being computed when this returns. */
  private async fence(): Promise<void> {
    this.touched = false;
    await new Promise<void>((allComputing) => {
      let computing = 0;
      this.cells = LEVELS.flatMap((_, filler) =>
        LEVELS.map((__, writer): Cell => {
          const key = `${this.number} ${filler} ${writer}`;
          let finish!: Cell['finish'];
          const value = new Promise<[number, number]>((resolve) => (finish = resolve));
          const compute = async (): Promise<[number, number]> => {
            if (++computing === LEVELS.length ** 2) allComputing();
            return value;
          };
          const result = this.stage.one.getOrSet(key, compute, this.stage.policies[writer]!);
          return { filler, writer, key, finish, result };
        }),
      );
    });
  }

  private async store(): Promise<void> {
    for (const { filler, writer, finish } of this.cells)
      finish([this.lefts[filler]![writer]!, this.rights[filler]![writer]!]);
    for (const { filler, result } of this.cells) {
      const value = await result;
      // The level keeps its promise: only READ COMMITTED may read two states.
      assert.deepEqual(value, [this.seen, filler === 0 ? this.seenLater : this.seen], LEVELS[filler]);
      if (value[0] !== value[1]) this.stage.tally.torn++;
    }
    await this.stage.one.drain();
    this.stored = true;
  }

  /** The value that the tables hold now if nothing was touched since the fence, otherwise none: never an old or torn one. */
  private async read(who: string, cache: ResultCache): Promise<void> {
    const now: [number, number] = [this.stage.value, this.stage.value];
    const served = this.stored && !this.touched;
    const { tally } = this.stage;
    await Promise.all(
      this.cells.map(async ({ key, filler, writer }) => {
        const levels = `${who}, filled in ${LEVELS[filler]}, written in ${LEVELS[writer]}`;
        assert.deepEqual(await cache.get(key), served ? now : undefined, levels);
        if (served) tally.hits++;
        else tally.voids++;
      }),
    );
  }
}
