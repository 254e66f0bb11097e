import { type Clock } from '../core/clock.js';
import { CacheError } from '../core/errors.js';
import { events, STORE_EVENTS } from '../core/events.js';
import { NotInstalledError, type Installation } from './installer.js';

/** Milliseconds between two attempts on a database that could not be used. */
export const RETRY_MS = 1_000;

/** Whether the cache can be used, and if not why. */
export type Availability =
  { state: 'new' | 'ready' } | { state: 'off'; reason: NotInstalledError } | { state: 'unreachable'; reason: Error };

/** The cache cannot be asked just now; callers compute instead. `cause` says why. */
export class StoreUnavailableError extends CacheError {}

/**
 * Installs at the first use, and decides who may ask the database. While it is in trouble one caller a second tries;
 * the others are turned away at once, because a database that hangs would otherwise make every request wait.
 */
export class Readiness {
  private installed: Installation | null = null;
  private installing: Promise<Installation> | null = null;
  private problem: { error: Error; at: number } | null = null;
  private told = '';
  private closed = false;

  constructor(
    private readonly attempt: () => Promise<Installation>,
    private readonly clock: Clock,
  ) {}

  get installation(): Installation | null {
    return this.installed;
  }

  /** Whether {@link ready} would answer at once. */
  get isReady(): boolean {
    return this.installed !== null && this.problem === null && !this.closed;
  }

  get availability(): Availability {
    if (this.problem !== null) {
      const { error } = this.problem;
      return error instanceof NotInstalledError
        ? { state: 'off', reason: error }
        : { state: 'unreachable', reason: error };
    }
    return { state: this.installed === null ? 'new' : 'ready' };
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
    if (this.problem !== null) {
      const now = this.clock.monotonic();
      if (this.installing !== null || now - this.problem.at < RETRY_MS) throw unavailable(this.problem.error);
      this.problem.at = now;
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
    if (this.problem !== null && this.installed !== null) this.settle(null);
  }

  /** A statement failed because the database cannot be reached. */
  failed(error: Error): StoreUnavailableError {
    this.settle(error);
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

  private async run(): Promise<Installation> {
    try {
      this.installed = await this.attempt();
      this.settle(null);
      return this.installed;
    } catch (error) {
      this.installed = null;
      this.settle(error as Error);
      throw error;
    }
  }

  /** Publishes what changed: the first trouble, another trouble, and the end of it. */
  private settle(error: Error | null): void {
    this.problem = error && { error, at: this.clock.monotonic() };
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
