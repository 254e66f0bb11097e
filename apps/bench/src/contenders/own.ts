import { PostgresCache, ResultCache, type ResultCacheOptions } from 'nestjs-result-cache';
import pg from 'pg';
import { type ReadContenderSpec } from './contender.js';

/** This library, through `getOrSet` with a policy made once, as `@CacheResult` calls it. */
function own(name: string, tier: 'memory' | 'postgres', options: Partial<ResultCacheOptions>): ReadContenderSpec {
  return {
    name,
    tier,
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

const memory = { maxEntries: 10_000, maxBytes: 2 ** 30, ttl: '1h' } as const;

export const ownContenders: ReadContenderSpec[] = [
  own('nestjs-result-cache: memory, bounded 50 ms', 'memory', { memory, freshness: { maxStaleness: '50ms' } }),
  own('nestjs-result-cache: memory, strict', 'memory', { memory }),
  own('nestjs-result-cache: PostgreSQL, validated', 'postgres', { memory: false }),
];
