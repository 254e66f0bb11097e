import { PostgresCache, ResultCache, type ResultCacheOptions } from 'nestjs-result-cache';
import pg from 'pg';
import { type ReadContenderSpec } from './contender.js';
import { computeItem, type ItemReaderSpec } from './items.js';

interface Variant {
  name: string;
  options: Partial<ResultCacheOptions>;
  maxStalenessMs: number;
}

const memory = { maxEntries: 10_000, maxBytes: 2 ** 30, ttl: '1h' } as const;

const variants: Variant[] = [
  {
    name: 'nestjs-result-cache: memory, bounded 50 ms',
    options: { memory, freshness: { maxStaleness: '50ms' } },
    maxStalenessMs: 50,
  },
  { name: 'nestjs-result-cache: memory, strict', options: { memory }, maxStalenessMs: 0 },
  {
    name: 'nestjs-result-cache: PostgreSQL, validated',
    options: { memory: false },
    maxStalenessMs: 0,
  },
];

/** This library, through `getOrSet` with a policy made once, as `@CacheResult` calls it. */
function own({ name, options }: Variant): ReadContenderSpec {
  return {
    name,
    open: async ({ postgresUrl }, values) => {
      const pool = new pg.Pool({ connectionString: postgresUrl, max: 4 });
      await pool.query('CREATE TABLE IF NOT EXISTS watched_users (id int PRIMARY KEY)');
      const store = new PostgresCache({ connection: pool, watch: [{ table: 'watched_users', domain: 'user' }] });
      await store.initialize();
      const cache = new ResultCache({ store, timeout: Infinity, ...options });
      const policy = cache.policy({ domains: ['user'], ttl: '1h' });
      const missing = async (): Promise<never> => {
        throw new Error(`${name}: a miss`);
      };
      for (const [key, value] of values) await cache.getOrSet(key, async () => value, policy);
      await cache.drain();
      await pool.query('VACUUM ANALYZE fraiseql_cache.fraiseql_cache');
      return {
        read: (key) => cache.getOrSet(key, missing, policy),
        close: async () => {
          cache.stop();
          await store.close();
          await pool.end();
        },
      };
    },
  };
}

/** Each value depends on its row; the trigger does what others do by hand. */
function ownItems({ name, options, maxStalenessMs }: Variant): ItemReaderSpec {
  return {
    name,
    maxStalenessMs,
    open: async ({ postgresUrl }, table) => {
      const store = new PostgresCache({
        connection: postgresUrl,
        watch: [{ table: table.name, domain: table.name }],
      });
      await store.initialize();
      const cache = new ResultCache({ store, timeout: Infinity, ...options });
      return {
        read: (id) =>
          cache.getOrSet(`${table.name}:${id}`, () => computeItem(table, id), {
            rows: [[table.name, { id }]],
            ttl: '1h',
          }),
        invalidate: async () => undefined,
        close: async () => {
          await cache.drain();
          cache.stop();
          await store.close();
        },
      };
    },
  };
}

export const ownContenders: ReadContenderSpec[] = variants.map(own);
export const ownItemReaders: ItemReaderSpec[] = variants.map(ownItems);
