import { BentoCache, bentostore } from 'bentocache';
import { knexDriver } from 'bentocache/drivers/knex';
import { memoryDriver } from 'bentocache/drivers/memory';
import { redisDriver } from 'bentocache/drivers/redis';
import { Redis } from 'ioredis';
import knex from 'knex';
import { type ReadContenderSpec } from './contender.js';

type Store = ReturnType<typeof bentostore>;

function bento(
  name: string,
  tier: ReadContenderSpec['tier'],
  configure: (servers: {
    postgresUrl: string;
    redisUrl: string | null;
  }) => { store: Store; close(): Promise<void> } | null,
): ReadContenderSpec {
  return {
    name,
    tier,
    open: async (environment, values) => {
      const configured = configure(environment);
      if (configured === null) return null;
      const cache = new BentoCache({ default: 'main', stores: { main: configured.store } });
      for (const [key, value] of values) await cache.set({ key, value, ttl: '1h' });
      const factory = async (): Promise<never> => {
        throw new Error(`${name}: a miss`);
      };
      return {
        read: (key) => cache.getOrSet({ key, ttl: '1h', factory }),
        close: async () => {
          await cache.disconnectAll();
          await configured.close();
        },
      };
    },
  };
}

const nothing = async (): Promise<void> => undefined;

export const bentocaches: ReadContenderSpec[] = [
  bento('bentocache: memory', 'memory', () => ({
    // Without a second tier to read it back from, everything must fit.
    store: bentostore().useL1Layer(memoryDriver({ maxItems: 10_000, maxSize: '1gb' })),
    close: nothing,
  })),
  bento('bentocache: PostgreSQL (knex)', 'postgres', ({ postgresUrl }) => {
    const connection = knex({ client: 'pg', connection: postgresUrl });
    return { store: bentostore().useL2Layer(knexDriver({ connection })), close: nothing };
  }),
  bento('bentocache: Redis', 'redis', ({ redisUrl }) => {
    if (redisUrl === null) return null;
    const connection = new Redis(redisUrl);
    return { store: bentostore().useL2Layer(redisDriver({ connection })), close: nothing };
  }),
  bento('bentocache: memory over Redis', 'memory', ({ redisUrl }) => {
    if (redisUrl === null) return null;
    const connection = new Redis(redisUrl);
    const memory = memoryDriver({ maxItems: 10_000, maxSize: '1gb' });
    return { store: bentostore().useL1Layer(memory).useL2Layer(redisDriver({ connection })), close: nothing };
  }),
];
