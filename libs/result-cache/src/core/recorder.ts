import { type Clock } from './clock.js';
import { events, type CacheEvent, type StaleReason } from './events.js';
import { outcomes, type Tier } from './outcome.js';
import { StatsRecorder } from './stats.js';
import { type PurgeResult } from './store.js';
import { type UnstorableValueError } from './errors.js';

const MOST_COMPLAINTS = 10_000;

/** Who read what, for the record. */
export interface Reading {
  view: string;
  tenantId?: string | undefined;
  /** When it began, in monotonic milliseconds. */
  started: number;
}

/** What was served that is not good any more. */
interface Stale {
  tier: Tier;
  /** Milliseconds; below 0 after the end of its TTL. */
  leftMs: number;
  computeMs: number | null;
  reason: StaleReason;
  isInvalidated: boolean;
}

/** Writes down what one cache does, in the three places people look: counters, the response's outcome, the event stream. */
export class Recorder {
  private readonly stats: StatsRecorder;
  private readonly complained = new Set<string>();

  constructor(
    private readonly cache: string,
    enableStats: boolean,
    private readonly clock: Clock,
  ) {
    this.stats = new StatsRecorder(enableStats);
  }

  hit({ view, tenantId, started }: Reading, tier: Tier, ttlMs: number, computeMs: number): void {
    this.stats.hit(view, computeMs);
    outcomes()?.push({ cache: this.cache, view, status: 'hit', tier, ttlMs });
    if (events.hasSubscribers) this.publish({ type: 'hit', view, tenantId, tier, durationMs: this.since(started) });
  }

  miss({ view, tenantId, started }: Reading): void {
    this.stats.miss(view);
    outcomes()?.push({ cache: this.cache, view, status: 'miss' });
    if (events.hasSubscribers) this.publish({ type: 'miss', view, tenantId, durationMs: this.since(started) });
  }

  /** A value was served that is not good any more. */
  stale(reading: Reading, { tier, leftMs, computeMs, reason, isInvalidated }: Stale): void {
    const { view, tenantId } = reading;
    // Only this one was not computed for: whoever waited in vain has been counted as a miss.
    if (reason === 'revalidating') this.hit(reading, tier, leftMs, computeMs ?? 0);
    this.stats.count('stale');
    this.publish({ type: 'stale', view, tenantId, tier, reason, isInvalidated });
  }

  /** A computation failed, and no caller was told. */
  computationFailed({ view, tenantId }: Reading, thrown: unknown, isBackground: boolean): void {
    this.stats.count('errors');
    const error = thrown instanceof Error ? thrown : new Error(String(thrown));
    this.publish({ type: 'failed', view, tenantId, isBackground, error });
  }

  joined(view: string, tenantId?: string): void {
    this.stats.count('joined');
    outcomes()?.push({ cache: this.cache, view, status: 'miss', reason: 'joined' });
    this.publish({ type: 'joined', view, tenantId });
  }

  bypassed(view: string, reason: string): void {
    this.stats.count('bypassed');
    outcomes()?.push({ cache: this.cache, view, status: 'bypass', reason });
    this.publish({ type: 'bypass', view, reason });
  }

  computed(view: string, durationMs: number): void {
    this.publish({ type: 'computed', view, durationMs });
  }

  stored(view: string, bytes: number): void {
    this.stats.count('stores');
    this.publish({ type: 'stored', view, bytes });
  }

  /** Counted always, told once per view: a method that returns something unstorable does so at every call. */
  unstorable(view: string, { reason, message }: UnstorableValueError): void {
    this.stats.count('unstorable');
    if (reason === 'too-large') this.stats.count('tooLarge');
    if (reason === 'too-many-tags') this.stats.count('tooManyTags');
    if (this.firstTime(`unstorable ${view} ${reason}`)) this.publish({ type: 'unstorable', view, reason, message });
  }

  untracked(view: string, message: string): void {
    if (this.firstTime(`untracked ${view} ${message}`)) this.publish({ type: 'untracked', view, message });
  }

  invalidated(domains: readonly string[], tags: readonly string[]): void {
    this.publish({ type: 'invalidated', domains, tags });
  }

  purged({ entries, logRows, evicted = 0 }: PurgeResult): void {
    if (evicted > 0) this.stats.count('tableEvictions', evicted);
    this.publish({ type: 'purged', entries, logRows, evicted });
  }

  /** An entry left memory to make room. */
  evicted(): void {
    this.stats.count('evictions');
  }

  failed(operation: string, error: Error): void {
    this.stats.count('errors');
    this.publish({ type: 'error', operation, error });
  }

  snapshot(): ReturnType<StatsRecorder['snapshot']> {
    return this.stats.snapshot();
  }

  reset(): void {
    this.stats.reset();
  }

  private since(started: number): number {
    return this.clock.monotonic() - started;
  }

  private publish(event: DistributiveOmit<CacheEvent, 'cache'>): void {
    if (events.hasSubscribers) events.publish({ cache: this.cache, ...event });
  }

  private firstTime(complaint: string): boolean {
    if (this.complained.has(complaint) || this.complained.size >= MOST_COMPLAINTS) return false;
    this.complained.add(complaint);
    return true;
  }
}

type DistributiveOmit<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never;
