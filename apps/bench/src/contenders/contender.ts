import { type Servers } from '../environment.js';

/** Something that keeps values by key and gives them back: what people use, and what they would use instead. */
export interface ReadContender {
  /** The value of a key, as the application gets it: parsed, and safe to change. */
  read(key: string): Promise<unknown>;
  close(): Promise<void>;
}

/** How one of them is made; its configuration is its source, as its own documentation advises. */
export interface ReadContenderSpec {
  name: string;
  /** Hold these values, so that reading any of them is a hit. `null`: cannot be measured here. */
  open(servers: Servers, values: ReadonlyMap<string, unknown>): Promise<ReadContender | null>;
}

/** A cache that is asked by key and given a function for what it does not have. */
export interface KeyedCache {
  getOrSet<T>(key: string, compute: () => Promise<T>): Promise<T>;
  /** What whoever changes the data behind a key calls after the commit. */
  invalidate(key: string): Promise<unknown>;
  /** Wait until what was computed is stored, where {@link getOrSet} does not. */
  drain?(): Promise<void>;
  close(): Promise<void>;
}

export interface KeyedCacheSpec {
  name: string;
  /**
   * `null`: there is no Redis, and it needs one.
   * @param processes How many of the application there are, each with one of these: their memory may need a bus.
   */
  open(servers: Servers, processes: number): Promise<KeyedCache | null>;
}

/** Hits of such a cache. */
export function hitsOf({ name, open }: KeyedCacheSpec): ReadContenderSpec {
  return {
    name,
    open: async (servers, values) => {
      const cache = await open(servers, 1);
      if (cache === null) return null;
      for (const [key, value] of values) {
        // A Redis that runs on may hold one from an earlier run.
        await cache.invalidate(key);
        await cache.getOrSet(key, async () => value);
      }
      const missing = async (): Promise<never> => {
        throw new Error(`${name}: a miss`);
      };
      return { read: (key) => cache.getOrSet(key, missing), close: () => cache.close() };
    },
  };
}
