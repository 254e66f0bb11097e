import { setImmediate } from 'node:timers/promises';
import { type KeyedCache } from '../contenders/contender.js';
import { memoryContenders } from '../contenders/keyed.js';
import { joinCrew } from '../crew.js';
import { type Servers } from '../environment.js';
import { valueOf } from '../values.js';

export interface Holding {
  contender: string;
  entries: number;
  /** Of each value's JSON. */
  bytes: number;
}

/** Bytes of memory that an entry takes. */
joinCrew<Servers, Holding, number>(async (servers) => ({
  carryOut: async ({ contender, entries, bytes }) => {
    const { open } = memoryContenders.find(({ name }) => name === contender)!;
    const hold = async (name: string, count: number): Promise<KeyedCache> => {
      const cache = (await open(servers, 1))!;
      for (let index = 0; index < count; index++) {
        // Parsed, as it comes from a database: no value shares a part with another one.
        const json = JSON.stringify(valueOf(bytes, index));
        await cache.getOrSet(`${name}:${index}`, async () => JSON.parse(json) as unknown);
      }
      await cache.drain?.();
      return cache;
    };
    const holdsAll = async (cache: KeyedCache): Promise<void> => {
      const missing = async (): Promise<never> => {
        throw new Error(`${contender}: it has not kept all ${entries}`);
      };
      for (let index = 0; index < entries; index++) await cache.getOrSet(`held:${index}`, missing);
    };
    // What is loaded and compiled once is no entry's.
    await (await hold('first', 100)).close();
    const before = await used();
    const cache = await hold('held', entries);
    const each = ((await used()) - before) / entries;
    await holdsAll(cache);
    await cache.close();
    return each;
  },
  close: async () => undefined,
}));

async function used(): Promise<number> {
  for (let turn = 0; turn < 3; turn++) {
    await setImmediate();
    globalThis.gc!();
  }
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
