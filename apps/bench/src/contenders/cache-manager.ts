import KeyvPostgres from '@keyv/postgres';
import KeyvRedis from '@keyv/redis';
import { createCache } from 'cache-manager';
import { Keyv } from 'keyv';
import { type KeyedCache, type KeyedCacheSpec } from './contender.js';

/** `@nestjs/cache-manager` is `cache-manager` behind a provider; its `wrap` is what an application calls. */
function opened(store: Keyv): KeyedCache {
  const cache = createCache({ stores: [store], ttl: 3_600_000 });
  return {
    getOrSet: (key, compute) => cache.wrap(key, compute),
    invalidate: (key) => cache.del(key),
    close: async () => void (await cache.disconnect()),
  };
}

/** How many `KeyvPostgres` are open: all of one process share one pool (of 10), which can be ended only once. */
let openOnPostgres = 0;

export const cacheManagers: KeyedCacheSpec[] = [
  { name: 'cache-manager: memory', open: async () => opened(new Keyv()) },
  {
    name: 'cache-manager: @keyv/postgres',
    open: async ({ postgresUrl }) => {
      const cache = opened(new Keyv({ store: new KeyvPostgres({ uri: postgresUrl, useUnloggedTable: true }) }));
      openOnPostgres++;
      return { ...cache, close: async () => (--openOnPostgres === 0 ? cache.close() : undefined) };
    },
  },
  {
    name: 'cache-manager: @keyv/redis',
    open: async ({ redisUrl }) => (redisUrl === null ? null : opened(new Keyv({ store: new KeyvRedis(redisUrl) }))),
  },
];
