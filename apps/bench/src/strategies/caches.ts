import { PostgresCache, ResultCache, type ResultCacheOptions } from 'nestjs-result-cache';
import { createSales, type Paid } from './question.js';
import { type Strategy, type Workbench } from './strategy.js';

const TTL_SECONDS = 3_600;

/** A table of results, in the form and with the statements of the text. */
export function createResultTable(name: string, kind: 'UNLOGGED' | ''): string {
  return `
    CREATE ${kind} TABLE ${name} (
      cache_key text PRIMARY KEY,
      result jsonb NOT NULL,
      created_at timestamptz DEFAULT now(),
      expires_at timestamptz NOT NULL
    );
    CREATE INDEX ON ${name} (expires_at);`;
}

/** Stores a result: key, JSON, TTL in seconds. */
export function storeInto(name: string): string {
  return `INSERT INTO ${name} (cache_key, result, expires_at) VALUES ($1, $2, now() + $3 * interval '1 second')
    ON CONFLICT (cache_key) DO UPDATE SET result = EXCLUDED.result, expires_at = EXCLUDED.expires_at`;
}

/** Results in such a table: left to their TTL, as in the text, or deleted by those who write. */
export async function resultTables({ pool, plain, compute }: Workbench): Promise<Strategy[]> {
  const strategy = async (label: string, name: string, kind: 'UNLOGGED' | ''): Promise<Strategy> => {
    await pool.query(createResultTable(name, kind));
    const find = `SELECT result FROM ${name} WHERE cache_key = $1 AND expires_at > now()`;
    return {
      name: label,
      table: plain,
      read: async (customer) => {
        const key = keyOf(customer);
        const { rows } = await pool.query<{ result: Paid }>({ name: `find ${name}`, text: find, values: [key] });
        if (rows[0] !== undefined) return rows[0].result;
        const paid = await compute(plain, customer);
        const values = [key, JSON.stringify(paid), TTL_SECONDS];
        await pool.query({ name: `store ${name}`, text: storeInto(name), values });
        return paid;
      },
    };
  };
  const deleted = async (label: string, name: string, kind: 'UNLOGGED' | ''): Promise<Strategy> => ({
    ...(await strategy(label, name, kind)),
    afterWrite: (customer) =>
      pool.query({
        name: `delete ${name}`,
        text: `DELETE FROM ${name} WHERE cache_key = $1`,
        values: [keyOf(customer)],
      }),
  });
  return [
    await strategy('result table, UNLOGGED, TTL alone', 'results_ttl', 'UNLOGGED'),
    await deleted('result table, UNLOGGED, deleted by writers', 'results_unlogged', 'UNLOGGED'),
    await deleted('result table, logged, deleted by writers', 'results_logged', ''),
  ];
}

/** Redis by hand: GET and parse, deleted by those who write. `null` where there is none. */
export function redisByHand({ redis, plain, compute }: Workbench): Strategy | null {
  if (redis === null) return null;
  return {
    name: 'Redis by hand, deleted by writers',
    table: plain,
    read: async (customer) => {
      const known = await redis.get(keyOf(customer));
      if (known !== null) return JSON.parse(known) as Paid;
      const paid = await compute(plain, customer);
      await redis.set(keyOf(customer), JSON.stringify(paid), 'EX', TTL_SECONDS);
      return paid;
    },
    afterWrite: (customer) => redis.del(keyOf(customer)),
  };
}

/** This library, from memory and from PostgreSQL, both strict: one table, watched by customer. */
export async function resultCaches(workbench: Workbench): Promise<Strategy[]> {
  const { pool, size, postgresUrl, compute } = workbench;
  const table = 'sales_watched';
  await pool.query(createSales(table, size));
  await pool.query(`VACUUM ANALYZE ${table}`);
  const strategy = async (name: string, memory: ResultCacheOptions['memory']): Promise<Strategy> => {
    const store = new PostgresCache({
      connection: postgresUrl,
      watch: [{ table, domain: 'sale', tagColumns: [['customer_id']] }],
    });
    await store.initialize();
    const cache = new ResultCache({ store, memory, timeout: Infinity });
    return {
      name,
      table,
      read: (customer) =>
        cache.getOrSet(keyOf(customer), () => compute(table, customer), {
          rows: [['sale', { customer_id: customer }]],
          ttl: TTL_SECONDS,
        }),
      close: async () => {
        cache.stop();
        await store.close();
      },
    };
  };
  return [
    await strategy('nestjs-result-cache: memory, strict', { maxEntries: size.customers }),
    await strategy('nestjs-result-cache: PostgreSQL, validated', false),
  ];
}

function keyOf(customer: number): string {
  return `paid:${customer}`;
}
