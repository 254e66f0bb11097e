import { channel } from 'node:diagnostics_channel';
import { type Tier } from './outcome.js';

/** Why an older value was served: a new one is being computed, could not be, or takes too long. */
export type StaleReason = 'revalidating' | 'failed' | 'slow';

/**
 * Everything the cache does, as one stream on `node:diagnostics_channel`, under the name `nestjs-result-cache`.
 * Metrics and logs subscribe; publishing costs nothing while nobody does. Keys are never part of an event: they can
 * hold personal data.
 */
export type CacheEvent = { cache: string } & (
  | { type: 'hit'; view: string; tenantId?: string; tier: Tier; durationMs: number }
  | { type: 'miss'; view: string; tenantId?: string; durationMs: number }
  | { type: 'stale'; view: string; tenantId?: string; tier: Tier; reason: StaleReason; isInvalidated: boolean }
  | { type: 'failed'; view: string; tenantId?: string; isBackground: boolean; error: Error }
  | { type: 'joined'; view: string; tenantId?: string }
  | { type: 'bypass'; view: string; reason: string }
  | { type: 'computed'; view: string; durationMs: number }
  | { type: 'stored'; view: string; bytes: number }
  | { type: 'unstorable'; view: string; reason: string; message: string }
  | { type: 'untracked'; view: string; message: string }
  | { type: 'invalidated'; domains: readonly string[]; tags: readonly string[] }
  | { type: 'purged'; entries: number | null; logRows: number | null; evicted: number }
  | { type: 'availability'; state: 'new' | 'ready' | 'off' | 'unreachable'; message: string }
  | { type: 'error'; operation: string; error: Error }
);

/** The `cache` of events that concern a store, which several caches may share. No cache may have this name. */
export const STORE_EVENTS = 'store';

/** Name of the stream on `node:diagnostics_channel`. */
export const EVENT_CHANNEL = 'nestjs-result-cache';

/** The stream itself: `events.subscribe((event) => …)` through `node:diagnostics_channel`. */
export const events = channel(EVENT_CHANNEL);
