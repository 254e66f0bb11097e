import { Redis } from 'ioredis';
import pg from 'pg';
import { type ReadContenderSpec } from './contender.js';

/** What nothing can beat: the same work without a cache around it. */
export const limits: ReadContenderSpec[] = [
  {
    name: 'Map',
    open: async (_, values) => ({ read: async (key) => values.get(key), close: async () => undefined }),
  },
  {
    name: 'pg: one prepared primary-key read',
    open: async ({ postgresUrl }, values) => {
      const { pool, close } = await plainTable(postgresUrl, values);
      return {
        read: async (key) => {
          const { rows } = await pool.query({
            name: 'one',
            text: 'SELECT value FROM plain_values WHERE key = $1',
            values: [key],
          });
          return rows[0].value;
        },
        close,
      };
    },
  },
  {
    name: 'pg: one = ANY batch a turn',
    open: async ({ postgresUrl }, values) => {
      const { pool, close } = await plainTable(postgresUrl, values);
      let waiting: { key: string; resolve: (value: unknown) => void }[] = [];
      const send = async (): Promise<void> => {
        const batch = waiting;
        waiting = [];
        const keys = batch.map(({ key }) => key);
        const text = 'SELECT key, value::text FROM plain_values WHERE key = ANY ($1)';
        const { rows } = await pool.query<[string, string]>({ name: 'any', text, values: [keys], rowMode: 'array' });
        const found = new Map(rows);
        for (const { key, resolve } of batch) resolve(JSON.parse(found.get(key)!));
      };
      return {
        read: (key) =>
          new Promise((resolve) => {
            if (waiting.push({ key, resolve }) === 1) setImmediate(() => void send());
          }),
        close,
      };
    },
  },
  {
    name: 'ioredis, autopipelining: GET and parse',
    open: async ({ redisUrl }, values) => {
      if (redisUrl === null) return null;
      const redis = new Redis(redisUrl, { enableAutoPipelining: true });
      for (const [key, value] of values) await redis.set(`raw:${key}`, JSON.stringify(value));
      return {
        read: async (key) => JSON.parse((await redis.get(`raw:${key}`))!) as unknown,
        close: async () => void (await redis.quit()),
      };
    },
  },
];

async function plainTable(
  postgresUrl: string,
  values: ReadonlyMap<string, unknown>,
): Promise<{ pool: pg.Pool; close: () => Promise<void> }> {
  const pool = new pg.Pool({ connectionString: postgresUrl, max: 4 });
  await pool.query(
    'CREATE UNLOGGED TABLE IF NOT EXISTS plain_values (key text COLLATE "C" PRIMARY KEY, value json NOT NULL)',
  );
  await pool.query('TRUNCATE plain_values');
  for (const [key, value] of values)
    await pool.query('INSERT INTO plain_values VALUES ($1, $2)', [key, JSON.stringify(value)]);
  await pool.query('VACUUM ANALYZE plain_values');
  return { pool, close: () => pool.end() };
}
