import { setTimeout } from 'node:timers/promises';
import { type KeyedCache } from '../contenders/contender.js';
import { sharingContenders } from '../contenders/keyed.js';
import { joinCrew } from '../crew.js';
import { type Servers } from '../environment.js';
import { valueOf } from '../values.js';

export interface Stampede {
  contender: string;
  /** One that nobody has asked for yet. */
  key: string;
  callers: number;
}

export interface StampedeTask {
  servers: Servers;
  /** How many there are of this one. */
  processes: number;
}

/** What is computed takes about as long as a slow query. */
const COMPUTATION_MS = 100;

joinCrew<StampedeTask, Stampede, number | null>(async ({ servers, processes }) => {
  const open = new Map<string, KeyedCache>();
  for (const spec of sharingContenders) {
    const cache = await spec.open(servers, processes);
    if (cache === null) continue;
    open.set(spec.name, cache);
    // Some create their table with their first statement.
    await cache.getOrSet('first', async () => 1);
  }
  return {
    /** How many computations there were in this process; `null` where the contender cannot be measured here. */
    carryOut: async ({ contender, key, callers }) => {
      const cache = open.get(contender);
      if (cache === undefined) return null;
      let computations = 0;
      const compute = async (): Promise<unknown> => {
        computations++;
        await setTimeout(COMPUTATION_MS);
        return valueOf(1_000, 1);
      };
      await Promise.all(Array.from({ length: callers }, () => cache.getOrSet(key, compute)));
      return computations;
    },
    close: async () => {
      for (const cache of open.values()) await cache.close();
    },
  };
});
