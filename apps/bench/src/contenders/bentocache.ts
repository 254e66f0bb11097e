import { BentoCache, bentostore } from 'bentocache';
import { knexDriver } from 'bentocache/drivers/knex';
import { memoryDriver } from 'bentocache/drivers/memory';
import { redisBusDriver, redisDriver } from 'bentocache/drivers/redis';
import { Redis } from 'ioredis';
import knex from 'knex';
import { type Servers } from '../environment.js';
import { type KeyedCacheSpec } from './contender.js';

type Store = ReturnType<typeof bentostore>;
type SecondTier = Parameters<Store['useL2Layer']>[0];

function bento(name: string, configure: (servers: Servers, processes: number) => Store | null): KeyedCacheSpec {
  return {
    name,
    open: async (servers, processes) => {
      const store = configure(servers, processes);
      if (store === null) return null;
      const cache = new BentoCache({ default: 'main', stores: { main: store } });
      return {
        getOrSet: (key, factory) => cache.getOrSet({ key, ttl: '1h', factory }),
        invalidate: (key) => cache.delete({ key }),
        // Ends the connections of its drivers too.
        close: () => cache.disconnectAll(),
      };
    },
  };
}

// Without a second tier to read it back from, everything must fit.
const memory = () => memoryDriver({ maxItems: 10_000, maxSize: '1gb' });

const postgres = (url: string): SecondTier => knexDriver({ connection: knex({ client: 'pg', connection: url }) });

const redis = (url: string): SecondTier => redisDriver({ connection: new Redis(url) });

/** By its documentation one instance needs no bus and several do. The one that it brings for several processes is Redis. */
function twoTiers(second: SecondTier, redisUrl: string | null, processes: number): Store | null {
  const store = bentostore().useL1Layer(memory()).useL2Layer(second);
  if (processes === 1) return store;
  // The bus duplicates this client; itself it never connects.
  return redisUrl === null
    ? null
    : store.useBus(redisBusDriver({ connection: new Redis(redisUrl, { lazyConnect: true }) }));
}

export const bentocaches: KeyedCacheSpec[] = [
  bento('bentocache: memory', () => bentostore().useL1Layer(memory())),
  bento('bentocache: PostgreSQL (knex)', ({ postgresUrl }) => bentostore().useL2Layer(postgres(postgresUrl))),
  bento('bentocache: memory over PostgreSQL (knex)', ({ postgresUrl, redisUrl }, processes) =>
    twoTiers(postgres(postgresUrl), redisUrl, processes),
  ),
  bento('bentocache: Redis', ({ redisUrl }) => (redisUrl === null ? null : bentostore().useL2Layer(redis(redisUrl)))),
  bento('bentocache: memory over Redis', ({ redisUrl }, processes) =>
    redisUrl === null ? null : twoTiers(redis(redisUrl), redisUrl, processes),
  ),
];
