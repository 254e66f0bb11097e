import { type BreakerOptions, type BreakerStatus, CircuitBreaker } from '../core/circuit-breaker.js';
import { type Clock } from '../core/clock.js';
import { CacheError } from '../core/errors.js';
import { events, STORE_EVENTS } from '../core/events.js';
import { NotInstalledError, type Installation } from './installer.js';

/** A probe without an answer for so many milliseconds has failed; an answer that comes later counts all the same. */
const PROBE_WITHIN_MS = 2_000;
/** Probes that hang are not joined by ever more: a pool without a time-out of its own would collect them. */
const MOST_PROBES = 3;

/** Whether the cache can be used, and if not why. */
export type Availability =
  { state: 'new' | 'ready' } | { state: 'off'; reason: NotInstalledError } | { state: 'unreachable'; reason: Error };

/** The cache cannot be asked just now; callers compute instead. `cause` says why. */
export class StoreUnavailableError extends CacheError {}

/** What {@link Readiness} does with the database. */
export interface Access {
  /** Install or verify. */
  install(): Promise<Installation>;
  /** Ask for any answer. */
  ping(): Promise<unknown>;
}

/**
 * Installs at the first use, and decides who may ask the database. While it is in trouble callers are turned away at
 * once, because a database that hangs would otherwise make every request wait; a probe that nobody waits for finds out
 * when it is back.
 */
export class Readiness {
  private installed: Installation | null = null;
  private installing: Promise<Installation> | null = null;
  private problem: Error | null = null;
  private told = '';
  private closed = false;
  private probes = 0;
  private readonly breaker: CircuitBreaker;

  /** @throws CacheConfigurationError for a wrong option of the breaker. */
  constructor(
    private readonly access: Access,
    clock: Clock,
    options: BreakerOptions = {},
    random?: () => number,
  ) {
    this.breaker = new CircuitBreaker(options, clock, random);
  }

  get installation(): Installation | null {
    return this.installed;
  }

  /** Whether {@link ready} would answer at once. */
  get isReady(): boolean {
    return this.installed !== null && this.problem === null && !this.closed;
  }

  get availability(): Availability {
    const { problem } = this;
    if (problem !== null)
      return problem instanceof NotInstalledError
        ? { state: 'off', reason: problem }
        : { state: 'unreachable', reason: problem };
    return { state: this.installed === null ? 'new' : 'ready' };
  }

  get status(): BreakerStatus {
    return this.breaker.status;
  }

  /** Install or verify now, together with whoever is at it. @throws what stands in the way */
  async install(): Promise<Installation> {
    this.refuseWhenClosed();
    this.installing ??= this.run().finally(() => (this.installing = null));
    return this.installing;
  }

  /** @throws StoreUnavailableError */
  async ready(): Promise<Installation> {
    this.refuseWhenClosed();
    if (!this.breaker.isClosed) {
      if (this.probes < MOST_PROBES && this.breaker.mayProbe()) void this.probe();
      throw unavailable(this.problem!);
    }
    if (this.installed !== null) return this.installed;
    try {
      return await this.install();
    } catch (error) {
      throw unavailable(error as Error);
    }
  }

  /** A statement was answered. */
  succeeded(): void {
    this.breaker.succeeded();
    if (this.problem !== null && this.installed !== null) this.settle(null);
  }

  /** A statement failed because the database cannot be reached. */
  failed(error: Error): StoreUnavailableError {
    this.breaker.failed();
    if (!this.breaker.isClosed) this.settle(error);
    return unavailable(error);
  }

  /** Something is missing in the database: install anew at the next use. */
  forget(): void {
    this.installed = null;
  }

  /** From now on nobody may ask. */
  close(): void {
    this.closed = true;
  }

  private refuseWhenClosed(): void {
    if (this.closed) throw new StoreUnavailableError('the cache is closed');
  }

  /** Never rejects. */
  private async probe(): Promise<void> {
    this.probes++;
    const giveUp = (): void => {
      // Something else may have been answered meanwhile.
      if (this.breaker.status.state === 'half-open') this.breaker.trip();
    };
    const tooLate = setTimeout(giveUp, PROBE_WITHIN_MS).unref();
    try {
      await (this.installed === null ? this.install() : this.access.ping());
      this.succeeded();
    } catch (error) {
      this.breaker.trip();
      if (!this.closed) this.settle(error as Error);
    } finally {
      clearTimeout(tooLate);
      this.probes--;
    }
  }

  private async run(): Promise<Installation> {
    try {
      this.installed = await this.access.install();
      this.breaker.succeeded();
      this.settle(null);
      return this.installed;
    } catch (error) {
      this.installed = null;
      this.breaker.trip();
      this.settle(error as Error);
      throw error;
    }
  }

  /** Publishes what changed: the first trouble, another trouble, and the end of it. */
  private settle(error: Error | null): void {
    this.problem = error;
    const { state } = this.availability;
    const text = `${state} ${error instanceof NotInstalledError ? error.message : ''}`;
    if (text === this.told || this.closed) return;
    this.told = text;
    if (events.hasSubscribers)
      events.publish({ cache: STORE_EVENTS, type: 'availability', state, message: error?.message ?? '' });
  }
}

function unavailable(cause: Error): StoreUnavailableError {
  return new StoreUnavailableError(`the cache's database is not usable: ${cause.message}`, { cause });
}
