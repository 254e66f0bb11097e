import { systemClock, type Clock } from './clock.js';
import { CacheError } from './errors.js';
import { type CacheStore, type StoreStats } from './store.js';

/** What a probe found: the store's figures, or why there are none. */
export type StoreReading =
  { readonly ok: true; readonly stats: StoreStats } | { readonly ok: false; readonly error: Error };

export interface StoreProbeOptions {
  /** Milliseconds a reading is used again. Default 5,000. */
  maxAgeMs?: number;
  /** Milliseconds a caller waits for the store. Default 1,000. */
  timeoutMs?: number;
  clock?: Clock;
}

/** A question that is older than this was asked on a dead connection; ask again rather than wait for it for ever. */
const LOST_AFTER_MS = 30_000;

/** The store took longer than who probes it waits. */
export class ProbeTimeoutError extends CacheError {
  readonly code = 'ETIMEDOUT';
}

/**
 * Reads a store's figures for scrapes and health checks, which come when the database is in trouble too, and often: it
 * never rejects, never keeps a caller waiting long, has one question under way at most, and remembers the answer.
 */
export class StoreProbe {
  private readonly maxAgeMs: number;
  private readonly timeoutMs: number;
  private readonly clock: Clock;
  private last: { reading: StoreReading; askedAt: number; at: number } | null = null;
  private question: { answer: Promise<StoreReading>; askedAt: number } | null = null;

  constructor(
    private readonly store: Pick<CacheStore, 'stats'>,
    { maxAgeMs = 5_000, timeoutMs = 1_000, clock = systemClock }: StoreProbeOptions = {},
  ) {
    this.maxAgeMs = maxAgeMs;
    this.timeoutMs = timeoutMs;
    this.clock = clock;
  }

  /** The latest reading; asks the store if it is too old. Never rejects. */
  async read(): Promise<StoreReading> {
    const now = this.clock.monotonic();
    if (this.last !== null && now - this.last.at < this.maxAgeMs) return this.last.reading;
    // After a timeout the old question may still be under way: a slow database is not asked twice at once.
    if (this.question === null || now - this.question.askedAt > LOST_AFTER_MS)
      this.question = { answer: this.ask(now), askedAt: now };
    return this.inTime(this.question.answer);
  }

  private async ask(at: number): Promise<StoreReading> {
    let reading: StoreReading;
    try {
      reading = { ok: true, stats: await this.store.stats() };
    } catch (error) {
      reading = { ok: false, error: error as Error };
    }
    // The late answer to a question that was given up must not replace a newer one.
    if (this.last === null || this.last.askedAt <= at) this.last = { reading, askedAt: at, at: this.clock.monotonic() };
    if (this.question?.askedAt === at) this.question = null;
    return reading;
  }

  private async inTime(answer: Promise<StoreReading>): Promise<StoreReading> {
    let timer: NodeJS.Timeout | undefined;
    const tooLate = new Promise<StoreReading>((resolve) => {
      timer = setTimeout(
        () => resolve({ ok: false, error: new ProbeTimeoutError(`no answer within ${this.timeoutMs} ms`) }),
        this.timeoutMs,
      );
    });
    try {
      return await Promise.race([answer, tooLate]);
    } finally {
      clearTimeout(timer);
    }
  }
}
