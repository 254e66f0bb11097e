import { bentocaches } from './bentocache.js';
import { cacheManagers } from './cache-manager.js';
import { type KeyedCacheSpec } from './contender.js';
import { ownKeyed } from './own-keyed.js';

const peers = [...cacheManagers, ...bentocaches];
const isMemoryOnly = ({ name }: KeyedCacheSpec): boolean => name.endsWith(': memory');

export const WITHOUT_LEASES = 'nestjs-result-cache, without leases';
export const WITH_LEASES = 'nestjs-result-cache, with leases';

/** All with a tier that several processes share. */
export const sharingContenders: readonly KeyedCacheSpec[] = [
  ownKeyed(WITHOUT_LEASES),
  ownKeyed(WITH_LEASES, { lease: true }),
  ...peers.filter((peer) => !isMemoryOnly(peer)),
];

/** Those whose values are in the memory of the process, with room for 10,000. */
export const memoryContenders: readonly KeyedCacheSpec[] = [
  ownKeyed('nestjs-result-cache: memory', {}, { memory: { maxEntries: 10_000, maxBytes: 2 ** 30, ttl: '1h' } }),
  ...peers.filter(isMemoryOnly),
];
