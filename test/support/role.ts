import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { type TestDatabase } from './database.js';

/** An ordinary role of a spec's own: it may log in, and nothing that was not granted to it. */
export interface TestRole {
  name: string;
  /** Connection URL of the database as this role. */
  url: string;
  pool: pg.Pool;
  /** Close its pool and drop it; its database must be gone. */
  drop(server: pg.Pool): Promise<void>;
}

export async function createRole(database: TestDatabase, rights: { create?: boolean } = {}): Promise<TestRole> {
  const name = `r_${randomBytes(6).toString('hex')}`;
  await database.pool.query(`CREATE ROLE ${name} LOGIN PASSWORD 'secret'`);
  await database.pool.query(`GRANT ALL ON SCHEMA public TO ${name}`);
  if (rights.create) await database.pool.query(`GRANT CREATE ON DATABASE ${database.name} TO ${name}`);
  const url = new URL(database.url);
  url.username = name;
  url.password = 'secret';
  const pool = new pg.Pool({ connectionString: url.href, max: 4 });
  pool.on('error', () => undefined);
  return {
    name,
    url: url.href,
    pool,
    drop: async (server) => {
      if (!pool.ended) await pool.end();
      await server.query(`DROP ROLE ${name}`);
    },
  };
}
