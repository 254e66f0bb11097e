import { type Clock } from './clock.js';
import { ttlToMs, type Ttl } from './duration.js';
import { CacheConfigurationError } from './errors.js';

/** When a store that fails is let alone, and when it is asked again. */
export interface BreakerOptions {
  /** So many failures in a row open it. Default 1: one that hangs costs a connection for a second. */
  failures?: number;
  /** How long it stays open at first: seconds or text. Default `'1s'`. Each probe that fails doubles it. */
  retryAfter?: Ttl;
  /** How long it stays open at most. Default `'4s'`. */
  maxRetryAfter?: Ttl;
}

/** The options, for checking them. */
export const BREAKER_KEYS = ['failures', 'retryAfter', 'maxRetryAfter'] as const;

/** `closed`: everybody may ask. `open`: nobody. `half-open`: a probe is under way, and nobody else may ask. */
export type BreakerState = 'closed' | 'open' | 'half-open';

/** What a breaker shows to those who look. */
export interface BreakerStatus {
  readonly state: BreakerState;
  /** How often it opened, probes that failed not counted. */
  readonly openings: number;
}

/** A pause is shortened at random by at most this share, so that processes which lost a server together do not come back together. */
const JITTER = 0.5;

/**
 * Decides who may ask a store. Made for callers who have something better to do than to wait: while it is open nobody
 * waits, not even whoever comes when it is time to try, because the probe is nobody's own call.
 */
export class CircuitBreaker {
  private readonly most: number;
  private readonly firstMs: number;
  private readonly longestMs: number;
  private state: BreakerState = 'closed';
  private failures = 0;
  private openings = 0;
  private pauseMs = 0;
  private retryAt = 0;

  /** @throws CacheConfigurationError for a wrong option. */
  constructor(
    { failures = 1, retryAfter = '1s', maxRetryAfter = '4s' }: BreakerOptions,
    private readonly clock: Clock,
    private readonly random: () => number = Math.random,
  ) {
    if (!Number.isInteger(failures) || failures < 1)
      throw new CacheConfigurationError(
        `breaker.failures: ${String(failures)} is no number of failures; write a whole one from 1`,
      );
    this.most = failures;
    this.firstMs = ttlToMs(retryAfter, 'breaker.retryAfter');
    this.longestMs = ttlToMs(maxRetryAfter, 'breaker.maxRetryAfter');
    if (this.firstMs === 0 || this.longestMs < this.firstMs)
      throw new CacheConfigurationError(
        `breaker: retryAfter ${JSON.stringify(retryAfter)} is 0 or longer than maxRetryAfter ${JSON.stringify(maxRetryAfter)}; write retryAfter: '1s', maxRetryAfter: '4s'`,
      );
  }

  get isClosed(): boolean {
    return this.state === 'closed';
  }

  get status(): BreakerStatus {
    return { state: this.state, openings: this.openings };
  }

  /** Whether it is time for a probe. Who is told so must make it, and tell with {@link succeeded} or {@link trip}. */
  mayProbe(): boolean {
    if (this.state !== 'open' || this.clock.monotonic() < this.retryAt) return false;
    this.state = 'half-open';
    return true;
  }

  /** An answer came, to whatever question: the store is there. */
  succeeded(): void {
    this.failures = 0;
    this.state = 'closed';
  }

  /** One who was let through got no answer. What was asked before it opened tells nothing new. */
  failed(): void {
    if (this.isClosed && ++this.failures >= this.most) this.trip();
  }

  /** Open it now, or again when a probe has failed: for longer each time. */
  trip(): void {
    if (this.state === 'open') return;
    this.pauseMs = this.isClosed ? this.firstMs : Math.min(this.pauseMs * 2, this.longestMs);
    if (this.isClosed) this.openings++;
    this.failures = 0;
    this.state = 'open';
    this.retryAt = this.clock.monotonic() + this.pauseMs * (1 - JITTER * this.random());
  }
}
