export { type BreakerOptions, type BreakerState, type BreakerStatus } from './circuit-breaker.js';
export { systemClock, type Clock } from './clock.js';
export * from './dependencies.js';
export { ttlToMs, type NamedTtl, type NamedTtls, type Ttl } from './duration.js';
export * from './errors.js';
export { EVENT_CHANNEL, type CacheEvent } from './events.js';
export { type Fence } from './fence.js';
export { type Freshness } from './freshness.js';
export { type ObservedStatement, type StatementDependencies, type StatementInference } from './inference.js';
export { CacheKeyBuilder, hashKey, type QueryKeyParts, type MethodKeyParts, type OrderTerm } from './keys.js';
export { type LeaseOptions } from './lease-options.js';
export { collectOutcomes, type Outcome, type Tier } from './outcome.js';
export { Policy, type DependencyOptions, type EntryOptions } from './policy.js';
export { type RenewalOptions } from './renewal-options.js';
export {
  ResultCache,
  type EntryMetadata,
  type MemoryOptions,
  type ResultCacheOptions,
  type SetOptions,
} from './result-cache.js';
export { type CacheStats, type Counters, type ViewCounters } from './stats.js';
export * from './store.js';
export { transactions, type OpenTransaction, type TransactionProbe } from './transactions.js';
export { ClassRegistry, copyValue, decodeValue, encodeValue, type Class } from './values/index.js';
