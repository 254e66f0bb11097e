import { PostgresCache, ResultCache, type EntryOptions, type ResultCacheOptions } from 'nestjs-result-cache';
import { type KeyedCacheSpec } from './contender.js';

/** This library, asked by key; `entry` has the options of each call, `options` those of the cache. */
export function ownKeyed(
  name: string,
  entry: Partial<EntryOptions> = {},
  options: Partial<ResultCacheOptions> = {},
): KeyedCacheSpec {
  return {
    name,
    open: async ({ postgresUrl }) => {
      const store = new PostgresCache({ connection: postgresUrl, tableName: 'bench_keyed' });
      await store.initialize();
      // No limit, because a caller who does not want to wait for a busy server longer computes by himself.
      const cache = new ResultCache({ store, timeout: Infinity, ...options });
      const policy = cache.policy({ tags: ['keyed'], ttl: '1h', ...entry });
      return {
        getOrSet: (key, compute) => cache.getOrSet(key, compute, policy),
        invalidate: (key) => cache.delete(key),
        drain: () => cache.drain(),
        close: async () => {
          await cache.drain();
          cache.stop();
          await store.close();
        },
      };
    },
  };
}
