import { AsyncLocalStorage } from 'node:async_hooks';

/** Where a value came from. */
export type Tier = 'memory' | 'postgres' | 'redis';

/** What happened to one cached read. */
export interface Outcome {
  /** Name of the cache. */
  cache: string;
  /** What was read: a method's name or a view. */
  view: string;
  /** `bypass`: the cache was not used, and `reason` says why. */
  status: 'hit' | 'miss' | 'bypass';
  tier?: Tier;
  reason?: string;
  /** Milliseconds the hit may still be served. */
  ttlMs?: number;
}

const collector = new AsyncLocalStorage<Outcome[]>();

/** Run `work` and have the outcome of every cached read below it appended to `into`. */
export function collectOutcomes<T>(into: Outcome[], work: () => T): T {
  return collector.run(into, work);
}

/**
 * Where to append the outcome of a read made here, if anybody collects them.
 * @internal
 */
export function outcomes(): Outcome[] | undefined {
  return collector.getStore();
}
