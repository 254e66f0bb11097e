import KeyvPostgres from '@keyv/postgres';
import KeyvRedis from '@keyv/redis';
import { createCache } from 'cache-manager';
import { Keyv } from 'keyv';
import { type ReadContender, type ReadContenderSpec } from './contender.js';

/** `@nestjs/cache-manager` is `cache-manager` behind a provider; its `wrap` is what an application calls. */
async function opened(store: Keyv, values: ReadonlyMap<string, unknown>): Promise<ReadContender> {
  const cache = createCache({ stores: [store], ttl: 3_600_000 });
  for (const [key, value] of values) await cache.set(key, value);
  const missing = async (): Promise<never> => {
    throw new Error('cache-manager: a miss');
  };
  return { read: (key) => cache.wrap(key, missing), close: async () => void (await cache.disconnect()) };
}

export const cacheManagers: ReadContenderSpec[] = [
  { name: 'cache-manager: memory', tier: 'memory', open: (_, values) => opened(new Keyv(), values) },
  {
    name: 'cache-manager: @keyv/postgres',
    tier: 'postgres',
    open: ({ postgresUrl }, values) =>
      opened(new Keyv({ store: new KeyvPostgres({ uri: postgresUrl, useUnloggedTable: true }) }), values),
  },
  {
    name: 'cache-manager: @keyv/redis',
    tier: 'redis',
    open: async ({ redisUrl }, values) =>
      redisUrl === null ? null : opened(new Keyv({ store: new KeyvRedis(redisUrl) }), values),
  },
];
