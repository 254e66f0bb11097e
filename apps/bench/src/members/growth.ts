import { GrownCache, type GrownTier, type Size } from './grown-cache.js';
import { joinCrew } from '../crew.js';
import { hammer } from '../rounds.js';

export interface GrownReads {
  tier: GrownTier;
  callers: number;
  ms: number;
}

/** Reads a second, of all entries in turn. */
joinCrew<{ postgresUrl: string; size: Size }, GrownReads, number>(async ({ postgresUrl, size }) => {
  const cache = await GrownCache.open(postgresUrl, size);
  await cache.warm();
  let next = 0;
  return {
    carryOut: ({ tier, callers, ms }) => hammer(callers, ms, () => cache.read(tier, (next += 7) % size.entries)),
    close: () => cache.close(),
  };
});
