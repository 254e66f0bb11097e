import { type Clock } from './clock.js';
import { ttlToMs, type Ttl } from './duration.js';
import { CacheConfigurationError, shown } from './errors.js';
import { sees, type Fence } from './fence.js';

/**
 * How old a value may be when it is served.
 *
 * `'strict'`: never older than a commit acknowledged before the read began; each read joins an exchange.
 * `{ maxStaleness: '50ms' }`: a value in memory is served without asking while the process has proof that it is at most
 * so far behind. Seconds as a number, or text with a unit.
 */
export type Freshness = 'strict' | { maxStaleness: Ttl };

/**
 * The bound in milliseconds; 0 for strict.
 * @throws CacheConfigurationError
 */
export function freshnessToMs(freshness: Freshness, where: string): number {
  if (freshness === 'strict') return 0;
  if (typeof freshness !== 'object' || freshness === null || !('maxStaleness' in freshness))
    throw new CacheConfigurationError(
      `${where}: freshness: ${shown(freshness)} is unknown; write 'strict' or { maxStaleness: '50ms' }`,
    );
  return ttlToMs(freshness.maxStaleness, `${where}: freshness.maxStaleness`);
}

/** A moment by both clocks. */
export interface Moment {
  wall: number;
  monotonic: number;
}

export function moment(clock: Clock): Moment {
  return { wall: clock.wall(), monotonic: clock.monotonic() };
}

/**
 * The proof that this process knows all touches up to a moment: the start of an exchange that was applied. Its age is
 * taken by both clocks, because a suspended machine stops the monotonic one and the wall clock may be set back.
 */
export class FreshnessProof {
  private since: Moment | null = null;
  private endedAt = -Infinity;
  /** Transactions of this process that wrote something and had not ended when last seen. */
  private awaited: number[] = [];
  private incarnation: string | null = null;

  constructor(private readonly clock: Clock) {}

  /** An exchange that started at `start` was applied. */
  renew(start: Moment, fence: Fence): void {
    // One that started before this process wrote something cannot know of it.
    if (start.monotonic < this.endedAt) return;
    // In another life of the server the same numbers mean other transactions, and may be far ahead.
    if (this.incarnation !== null && this.incarnation !== fence.incarnation) this.awaited = [];
    this.incarnation = fence.incarnation;
    this.awaited = this.awaited.filter((xid) => !sees(fence, xid));
    if (this.awaited.length > 0) return;
    if (this.since === null || start.monotonic > this.since.monotonic) this.since = start;
  }

  /** This process changed something: one reads one's own writes, so only what is asked from now on counts. */
  end(): void {
    this.since = null;
    this.endedAt = this.clock.monotonic();
  }

  /** The same for a transaction that is still open: until it is seen to have ended, every read asks. */
  endWith(xid: number): void {
    this.end();
    this.awaited.push(xid);
  }

  /**
   * Whether nothing known here is more than `maxMs` behind.
   * @param now The monotonic clock, for a caller who has just looked.
   */
  holds(maxMs: number, now = this.clock.monotonic()): boolean {
    if (this.since === null || now - this.since.monotonic > maxMs) return false;
    const wall = this.clock.wall() - this.since.wall;
    // Set back, the wall clock says nothing; then it is better to ask.
    return wall >= 0 && wall <= maxMs;
  }
}
