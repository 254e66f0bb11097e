import pg from 'pg';
import { type ReadContenderSpec } from './contender.js';
import { computeItem, type ItemReaderSpec } from './items.js';

const HOUR = '1 hour';

/** A row for each domain, counted up by every writer of a table: the usual way to version a domain. */
export async function countWrites(pool: pg.Pool, table: string): Promise<void> {
  await pool.query(`
    CREATE TABLE IF NOT EXISTS counter (domain text PRIMARY KEY, version bigint NOT NULL);
    CREATE OR REPLACE FUNCTION count_up() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN
        INSERT INTO counter VALUES (TG_ARGV[0], 1) ON CONFLICT (domain) DO UPDATE SET version = counter.version + 1;
        RETURN NULL;
      END $$;
    CREATE OR REPLACE TRIGGER up AFTER INSERT OR UPDATE OR DELETE ON ${table}
      FOR EACH STATEMENT EXECUTE FUNCTION count_up('${table}');
    INSERT INTO counter VALUES ('${table}', 0) ON CONFLICT DO NOTHING`);
}

/** Values with the version that their domain had; one statement a read compares it with the version it has now. */
class CounterRowCache {
  private constructor(
    private readonly pool: pg.Pool,
    private readonly domain: string,
  ) {}

  static async open(url: string, domain: string): Promise<CounterRowCache> {
    const pool = new pg.Pool({ connectionString: url, max: 4 });
    await countWrites(pool, domain);
    await pool.query(`CREATE UNLOGGED TABLE IF NOT EXISTS counted_values (
      key text COLLATE "C" PRIMARY KEY, version bigint NOT NULL, expires_at timestamptz NOT NULL, value json NOT NULL)`);
    return new CounterRowCache(pool, domain);
  }

  async getOrSet<T>(key: string, compute: () => Promise<T>): Promise<T> {
    const { rows } = await this.pool.query<{ version: string; value: T | null }>({
      name: 'counted_read',
      text: `SELECT c.version, v.value FROM counter c
             LEFT JOIN counted_values v ON v.key = $1 AND v.version = c.version AND v.expires_at > now()
             WHERE c.domain = $2`,
      values: [key, this.domain],
    });
    const { version, value } = rows[0]!;
    if (value !== null) return value;
    const computed = await compute();
    // The version is from before the computation, which may have seen more but not less.
    await this.pool.query({
      name: 'counted_fill',
      text: `INSERT INTO counted_values VALUES ($1, $2, now() + interval '${HOUR}', $3)
             ON CONFLICT (key) DO UPDATE SET version = EXCLUDED.version, expires_at = EXCLUDED.expires_at, value = EXCLUDED.value
             WHERE counted_values.version <= EXCLUDED.version`,
      values: [key, version, JSON.stringify(computed)],
    });
    return computed;
  }

  async vacuum(): Promise<void> {
    await this.pool.query('VACUUM ANALYZE counted_values');
  }

  async close(): Promise<void> {
    await this.pool.end();
  }
}

const name = 'counter row';

export const counterRow: ReadContenderSpec = {
  name,
  open: async ({ postgresUrl }, values) => {
    const pool = new pg.Pool({ connectionString: postgresUrl, max: 1 });
    await pool.query('CREATE TABLE IF NOT EXISTS counted_users (id int PRIMARY KEY)');
    await pool.end();
    const cache = await CounterRowCache.open(postgresUrl, 'counted_users');
    for (const [key, value] of values) await cache.getOrSet(key, async () => value);
    await cache.vacuum();
    const missing = async (): Promise<never> => {
      throw new Error(`${name}: a miss`);
    };
    return { read: (key) => cache.getOrSet(key, missing), close: () => cache.close() };
  },
};

/** A write to any item makes all of them void: a version of a domain cannot tell them apart. */
export const counterRowItems: ItemReaderSpec = {
  name,
  maxStalenessMs: 0,
  open: async ({ postgresUrl }, table) => {
    const cache = await CounterRowCache.open(postgresUrl, table.name);
    return {
      read: (id) => cache.getOrSet(`${table.name}:${id}`, () => computeItem(table, id)),
      invalidate: async () => undefined,
      close: () => cache.close(),
    };
  },
};
