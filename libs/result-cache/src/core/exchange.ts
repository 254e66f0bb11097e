import { type CacheStore, type ExchangeAnswer, type StoredRow } from './store.js';
import { type Fence } from './fence.js';
import { type TouchMemory } from './touch-memory.js';
import { CacheError, StoreTimeoutError } from './errors.js';
import { moment, type FreshnessProof } from './freshness.js';
import { type Clock } from './clock.js';

/** A row that is not good any more, and was not deleted. */
export interface StaleRow {
  readonly row: StoredRow;
  /** Something that it depends on was touched; otherwise only its TTL has ended. */
  readonly isInvalidated: boolean;
}

/** What one caller learns from an exchange that began after it asked. */
export interface Reply {
  /** The row of the caller's key, if there is one and nothing touched it. */
  readonly row: StoredRow | null;
  /** The same where it is good no more, for who may serve it all the same. */
  readonly stale: StaleRow | undefined;
  /** Taken now, hence before whatever the caller computes next. */
  readonly fence: Fence;
  /** Number of the exchange: what is told later has a higher one. */
  readonly number: number;
  /** The database's clock, milliseconds since the epoch. */
  readonly now: number;
  /** When the exchange began, in monotonic milliseconds: the reply is no older. */
  readonly asked: number;
}

interface Waiter {
  resolve(reply: Reply): void;
  reject(error: unknown): void;
}

/** Callers that only want a fence wait under this key. */
const NO_KEY = Symbol('no key');

/** Callers who share a statement, by the key they ask for. */
class Batch {
  readonly asked = new Map<string | typeof NO_KEY, Waiter[]>();
  /** What all wait for who only want to know that nothing newer was told. */
  fence: Promise<Reply> | undefined;
  /** Nobody waits any more. */
  abandoned = false;
  timer: NodeJS.Timeout | undefined;

  add(key: string | typeof NO_KEY, waiter: Waiter): void {
    const waiters = this.asked.get(key);
    if (waiters === undefined) this.asked.set(key, [waiter]);
    else waiters.push(waiter);
  }

  get keys(): string[] {
    return [...this.asked.keys()].filter((key) => typeof key === 'string').sort();
  }

  reject(error: unknown): void {
    for (const waiters of this.asked.values()) for (const waiter of waiters) waiter.reject(error);
  }
}

/** An answer this many time-outs late is not waited for: the connection it should come by is taken to be dead. */
const TIMEOUTS_UNTIL_DEAD = 4;
const ATTEMPTS = 6;

/**
 * Joins the callers of one event-loop turn into one statement. A caller is only ever served by a statement that starts
 * after it asked, so what it learns is never older than its question.
 */
export class Exchange {
  private waiting = new Batch();
  private scheduled = false;
  private inFlight = 0;
  /** How many of those in flight nobody waits for any more. */
  private abandoned = 0;
  private timeoutMs = Infinity;

  /** @param mostInFlight Statements at a time; while so many run, callers gather for the next. */
  constructor(
    private readonly store: CacheStore,
    private readonly memory: TouchMemory,
    private readonly proof: FreshnessProof,
    private readonly clock: Clock,
    private readonly mostInFlight = 2,
    private readonly onError: (operation: string, error: Error) => void = () => undefined,
    private readonly onReborn: () => void = () => undefined,
  ) {}

  /** Let no caller wait longer than so many milliseconds; the shortest that was ever asked for counts. */
  answerWithin(ms: number): void {
    this.timeoutMs = Math.min(this.timeoutMs, ms);
  }

  /** Ask for a key's row, or with no key just for a fence. @throws StoreTimeoutError, and what the store throws. */
  ask(key?: string): Promise<Reply> {
    return new Promise((resolve, reject) => {
      // Nothing comes back at present: waiting as well would not help.
      if (this.abandoned >= this.mostInFlight) return reject(new StoreTimeoutError(this.timeoutMs));
      const batch = this.waiting;
      batch.add(key ?? NO_KEY, { resolve, reject });
      if (batch.timer === undefined && this.timeoutMs < Infinity) this.limit(batch);
      this.schedule();
    });
  }

  /** The same without a key. Callers who gather for one statement are given one promise. */
  askForFence(): Promise<Reply> {
    const batch = this.waiting;
    if (batch.fence !== undefined) return batch.fence;
    const reply = this.ask();
    // Not where the caller was sent away at once.
    if (batch.asked.has(NO_KEY)) batch.fence = reply;
    return reply;
  }

  /**
   * Send callers away when the first of them has waited long enough. An answer that comes later is still applied, as
   * any that was overtaken by others: it tells of touches, and proves nothing newer than the moment it was asked for.
   */
  private limit(batch: Batch): void {
    const expire = (): void => {
      if (batch === this.waiting) this.waiting = new Batch();
      else if (batch.timer !== undefined) this.abandoned++;
      else return;
      batch.abandoned = true;
      batch.reject(new StoreTimeoutError(this.timeoutMs));
    };
    // Once more around the event loop: after a stall the answer may be here already, unread.
    batch.timer = setTimeout(() => setImmediate(expire), this.timeoutMs);
  }

  private schedule(): void {
    if (this.scheduled || this.inFlight >= this.mostInFlight || this.waiting.asked.size === 0) return;
    this.scheduled = true;
    // After the turn's I/O callbacks, so that all requests which arrived in it share the statement.
    setImmediate(() => {
      this.scheduled = false;
      const batch = this.waiting;
      if (batch.asked.size === 0) return;
      this.waiting = new Batch();
      this.inFlight++;
      void this.run(batch).finally(() => {
        this.inFlight--;
        if (batch.abandoned) this.abandoned--;
        clearTimeout(batch.timer);
        batch.timer = undefined;
        this.schedule();
      });
    });
  }

  private async run(batch: Batch): Promise<void> {
    try {
      const { answer, asked } = await this.answer(batch.keys, false);
      const rows = new Map<string, StoredRow>();
      let stale: Map<string, StaleRow> | undefined;
      const unknown: string[] = [];
      for (const row of answer.rows) {
        const verdict = this.memory.judge(row.key, row.proof, answer.fence);
        if (verdict === 'unknown') unknown.push(row.key);
        else if (verdict === 'valid' && row.proof.expiresAt > answer.now) rows.set(row.key, row);
        else if (verdict === 'valid' || this.memory.isOutdatedOnly(row.key, row.proof, answer.fence))
          (stale ??= new Map()).set(row.key, { row, isInvalidated: verdict === 'void' });
      }
      const number = this.memory.now;
      const old = new Set(unknown);
      for (const [key, waiters] of batch.asked)
        if (key === NO_KEY || !old.has(key))
          settle(waiters, {
            row: rows.get(key as string) ?? null,
            stale: stale?.get(key as string),
            fence: answer.fence,
            number,
            now: answer.now,
            asked,
          });
      if (unknown.length > 0 && !batch.abandoned) await this.prove(unknown, batch);
    } catch (error) {
      batch.reject(error);
    }
  }

  /** Rows fenced before this process began to remember: the log itself must prove them, in the statement that reads them. */
  private async prove(keys: string[], batch: Batch): Promise<void> {
    const { answer, asked } = await this.answer(keys, true);
    const proven = new Map(
      answer.rows
        .filter(
          ({ proof: { fence } }) =>
            fence.incarnation === answer.fence.incarnation && fence.lo >= answer.horizon && fence.hi <= answer.fence.hi,
        )
        .map((row) => [row.key, row.isInvalidated ? row : { ...row, proof: { ...row.proof, fence: answer.fence } }]),
    );
    for (const key of keys) {
      const row = proven.get(key);
      const isGood = row !== undefined && !row.isInvalidated && row.proof.expiresAt > answer.now;
      settle(batch.asked.get(key)!, {
        row: isGood ? row : null,
        stale: row === undefined || isGood ? undefined : { row, isInvalidated: row.isInvalidated === true },
        fence: answer.fence,
        number: this.memory.now,
        now: answer.now,
        asked,
      });
    }
    const untouched = [...proven.values()].filter(({ isInvalidated }) => !isInvalidated);
    if (untouched.length > 0)
      this.store.refence(untouched, answer.fence).catch((error: Error) => this.onError('refence', error));
  }

  private async answer(keys: readonly string[], prove: boolean): Promise<{ answer: ExchangeAnswer; asked: number }> {
    for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
      const request = { since: this.memory.base, keys, prove, withinMs: TIMEOUTS_UNTIL_DEAD * this.timeoutMs };
      const { epoch } = this.memory;
      const start = moment(this.clock);
      const answer = await this.store.exchange(request);
      if (answer === null) await this.store.recover();
      else if (this.memory.apply(answer, request, epoch)) {
        if (request.since !== null && request.since.incarnation !== answer.fence.incarnation) await this.reborn();
        else {
          this.proof.renew(start, answer.fence);
          return { answer, asked: start.monotonic };
        }
      }
    }
    throw new CacheError('the invalidation log was reset again and again while it was read');
  }

  /**
   * Somebody made the store anew, and perhaps not with all the triggers that this process relies on: put in place what
   * it needs, and look at what it finds, before any value is kept.
   */
  private async reborn(): Promise<void> {
    this.onReborn();
    await this.store.recover();
  }
}

function settle(waiters: readonly Waiter[], reply: Reply): void {
  for (const { resolve } of waiters) resolve(reply);
}
