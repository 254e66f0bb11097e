// The types by name: a project without `esModuleInterop` cannot read a default import out of our declarations.
import { Socket } from 'node:net';
import pg, { type Pool, type PoolClient, type PoolConfig, type QueryConfig } from 'pg';
import { Computation } from '../core/computation.js';
import { CacheConfigurationError } from '../core/errors.js';
import { isUnanswered } from './database-errors.js';

/** The part of a TypeORM `DataSource` that is needed; typed by shape, so that TypeORM need not be installed. */
export interface DataSourceLike {
  isInitialized: boolean;
  options: { type: string };
  driver: object;
}

/** Where the cache's statements run: a URL or `pg` configuration for a small pool of its own, or something that has one. */
export type ConnectionOptions =
  | string
  | PoolConfig
  | Pool
  | DataSourceLike
  // A pool of another copy of `pg` is recognised by what it can do.
  | Pick<Pool, 'connect' | 'query' | 'end'>;

/** Result rows as arrays of the server's own text: parsing is the reader's business, and mostly not needed. */
export type TextRows = (string | null)[][];

export interface Statement {
  text: string;
  values?: unknown[];
  /** Prepared under this name on each connection. */
  name?: string;
  /** Milliseconds after which to reject and drop the connection; the statement is not cancelled. Default: none. */
  query_timeout?: number;
}

/** A statement that takes longer is given up. The server's own limit comes first; this one is for a server that hangs. */
const ANSWER_WITHIN_MS = 35_000;

/** The longest a timer can wait: as good as no limit. */
const NO_LIMIT_MS = 2 ** 31 - 1;

/** How long {@link Connection.close} waits for what is under way. */
const CLOSE_WITHIN_MS = 5_000;
/** How often it cuts what others opened meanwhile. */
const CUT_AGAIN_MS = 50;

const asText = { getTypeParser: () => (value: string) => value };

/** A pool seen through the few calls the cache makes. */
export class Connection {
  private constructor(
    private readonly pool: Pick<Pool, 'connect' | 'query' | 'end'>,
    private readonly owned: boolean,
    /** Statements under way, of all who share the pool. */
    private readonly running = new Set<Promise<unknown>>(),
    /** What an own pool's connections go through: to be cut where the other side does not even answer a farewell. */
    private readonly sockets: ReadonlySet<Socket> = new Set(),
  ) {}

  /**
   * Accept whatever the user gave.
   * @throws CacheConfigurationError for anything that is no connection.
   */
  static from(options: ConnectionOptions | Connection, poolSize = 4): Connection {
    if (options instanceof Connection) return new Connection(options.pool, false, options.running);
    if (typeof options === 'string') {
      if (!/^postgres(ql)?:\/\//.test(options) && !options.startsWith('/'))
        throw new CacheConfigurationError(
          `connection: ${JSON.stringify(options.replace(/\/\/[^@/]*@/, '//…@'))} is not a PostgreSQL URL; write 'postgres://user:password@host:5432/database'`,
        );
      return Connection.own({ connectionString: options }, poolSize);
    }
    if (typeof options !== 'object' || options === null)
      throw new CacheConfigurationError(
        "connection is missing; give a PostgreSQL URL, a pg pool or pool configuration, or a TypeORM DataSource: connection: 'postgres://…'",
      );
    if ('driver' in options && 'isInitialized' in options) return new Connection(poolOf(options), false);
    if ('connect' in options && typeof options.connect === 'function') return new Connection(options, false);
    return Connection.own(options as PoolConfig, poolSize);
  }

  /** Which database it is, as far as can be told without asking: same text, same database. */
  get identity(): string {
    const { options } = this.pool as { options?: PoolConfig };
    const url = options?.connectionString;
    return url === undefined
      ? JSON.stringify([options?.host, options?.port, options?.database])
      : url.replace(/^.*@|\?.*$/g, '');
  }

  private static own(config: PoolConfig, poolSize: number): Connection {
    const sockets = new Set<Socket>();
    const pool = new pg.Pool({
      max: poolSize,
      connectionTimeoutMillis: 5_000,
      statement_timeout: 30_000,
      application_name: 'nestjs-result-cache',
      stream: () => {
        const socket = new Socket();
        sockets.add(socket);
        return socket.once('close', () => sockets.delete(socket));
      },
      ...config,
    });
    // A broken idle connection is replaced by the pool; without a listener it would end the process.
    pool.on('error', () => undefined);
    return new Connection(pool, true, undefined, sockets);
  }

  /** Run one statement; values come back as text. */
  async rows(statement: Statement): Promise<TextRows> {
    const query = {
      ...statement,
      rowMode: 'array',
      types: asText,
      query_timeout: statement.query_timeout ?? ANSWER_WITHIN_MS,
    };
    const { rows } = await this.track<{ rows: TextRows }>(
      Computation.unobserved(() => this.pool.query<any>(query as QueryConfig)),
    );
    return rows;
  }

  /** Run one statement that may take as long as it takes, and that cannot run in a transaction. */
  async unhurried(text: string): Promise<void> {
    await this.holding(async (client) => {
      await client.query('SET statement_timeout = 0');
      await client.query(limited(text, NO_LIMIT_MS)).finally(() => client.query('RESET statement_timeout'));
    });
  }

  /** Run statements in one transaction on one connection. Nothing but SQL may run inside: the connection is held. */
  async transaction<T>(
    work: (query: (text: string, values?: unknown[], extra?: object) => Promise<TextRows>) => Promise<T>,
    end: 'COMMIT' | 'ROLLBACK' = 'COMMIT',
  ): Promise<T> {
    return this.holding(async (client, discard) => {
      await client.query(limited('BEGIN'));
      try {
        const result = await work(async (text, values, extra) => {
          const query = { ...limited(text), ...extra, values, rowMode: 'array', types: asText };
          const answer = await client.query<any>(query as QueryConfig);
          return answer.rows as TextRows;
        });
        await client.query(limited(end));
        return result;
      } catch (error) {
        // What got no answer is still under way there: a farewell would wait behind it.
        if (isUnanswered(error)) discard(error as Error);
        else await client.query(limited('ROLLBACK')).catch(discard);
        throw error;
      }
    });
  }

  private holding<T>(work: (client: PoolClient, discard: (why: Error) => void) => Promise<T>): Promise<T> {
    return this.track(Computation.unobserved(() => this.hold(work)));
  }

  private async hold<T>(work: (client: PoolClient, discard: (why: Error) => void) => Promise<T>): Promise<T> {
    const client = await this.pool.connect();
    let broken: Error | undefined;
    const discard = (why: Error): void => void (broken = why);
    // Of a connection that is cut while held, pg tells by an event too, and one without a listener ends the process.
    client.on('error', discard);
    try {
      return await work(client, discard);
    } finally {
      client.off('error', discard);
      client.release(broken);
    }
  }

  /**
   * Close the pool if it is the cache's own, when what is under way has ended: a pool that ends forgets who waits for it.
   * What takes longer than `withinMs` is cut off, for a server that hangs answers nothing, not even a farewell.
   */
  async close(withinMs = CLOSE_WITHIN_MS): Promise<void> {
    if (!this.owned) return;
    const cut = (): void => {
      for (const socket of this.sockets) socket.destroy();
      timer = setTimeout(cut, CUT_AGAIN_MS);
    };
    let timer = setTimeout(cut, withinMs);
    try {
      while (this.running.size > 0) await Promise.allSettled(this.running);
      await this.pool.end();
    } finally {
      clearTimeout(timer);
    }
  }

  private async track<T>(statement: Promise<T>): Promise<T> {
    this.running.add(statement);
    try {
      return await statement;
    } finally {
      this.running.delete(statement);
    }
  }
}

/** A statement on a connection that is held; one without a limit of its own would hold it for as long as a server hangs. */
function limited(text: string, withinMs = ANSWER_WITHIN_MS): { text: string } {
  return { text, query_timeout: withinMs } as { text: string };
}

function poolOf(dataSource: DataSourceLike): Pick<Pool, 'connect' | 'query' | 'end'> {
  if (dataSource.options.type !== 'postgres' && dataSource.options.type !== 'aurora-postgres')
    throw new CacheConfigurationError(
      `connection: the DataSource is of type '${dataSource.options.type}'; this cache lives in PostgreSQL, give a DataSource of type 'postgres'`,
    );
  // With replication TypeORM has several pools; fences may only come from the primary, which it calls the master.
  const pool = (dataSource.driver as { master?: Pick<Pool, 'connect' | 'query' | 'end'> }).master;
  if (!dataSource.isInitialized || pool === undefined)
    throw new CacheConfigurationError(
      'connection: the DataSource is not initialised yet; call initialize() first, or inject it into forRootAsync',
    );
  return pool;
}
