import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { provideExtension } from './extension.js';

/** A database of a spec's own on the worker's real server. */
export interface TestDatabase {
  name: string;
  url: string;
  /** The administrator's pool on this database: use it to write "as somebody else". */
  pool: pg.Pool;
  drop(): Promise<void>;
}

export interface DatabaseOptions {
  /** URL of another server than the worker's own: of one that a spec may crash. */
  server?: string;
  /** Have `pg_fraiseql_cache` created in it. Default: whether `TEST_WITH_EXTENSION=1`, so that any spec runs both ways. */
  extension?: boolean;
}

/** Where the administrator connects to the server of this jest worker. */
export function serverUrl(): string {
  const { TEST_DATABASE_URLS: urls, JEST_WORKER_ID: worker } = process.env;
  if (urls === undefined || worker === undefined)
    throw new Error(
      'TEST_DATABASE_URLS is not set: run the tests through jest, whose global set-up starts the servers',
    );
  return (JSON.parse(urls) as string[])[Number(worker) - 1]!;
}

export async function createDatabase(options: DatabaseOptions = {}): Promise<TestDatabase> {
  const server = options.server ?? serverUrl();
  const name = `t_${randomBytes(6).toString('hex')}`;
  await administer(server, `CREATE DATABASE ${name}`);
  const url = server.replace(/\/[^/]*$/, `/${name}`);
  const pool = new pg.Pool({ connectionString: url, max: 10 });
  pool.on('error', () => undefined);
  if (options.extension ?? process.env.TEST_WITH_EXTENSION === '1') {
    await provideExtension();
    await pool.query('CREATE EXTENSION pg_fraiseql_cache');
  }
  return {
    name,
    url,
    pool,
    drop: async () => {
      await pool.end();
      await administer(server, `DROP DATABASE ${name} WITH (FORCE)`);
    },
  };
}

async function administer(url: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}
