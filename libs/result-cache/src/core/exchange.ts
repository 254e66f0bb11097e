import { type CacheStore, type ExchangeAnswer, type StoredRow } from './store.js';
import { type Fence } from './fence.js';
import { type TouchMemory } from './touch-memory.js';
import { CacheError } from './errors.js';
import { moment, type FreshnessProof } from './freshness.js';
import { type Clock } from './clock.js';

/** What one caller learns from an exchange that began after it asked. */
export interface Reply {
  /** The row of the caller's key, if there is one and nothing touched it. */
  readonly row: StoredRow | null;
  /** Taken now, hence before whatever the caller computes next. */
  readonly fence: Fence;
  /** Number of the exchange: what is told later has a higher one. */
  readonly number: number;
  /** The database's clock, milliseconds since the epoch. */
  readonly now: number;
}

interface Waiter {
  resolve(reply: Reply): void;
  reject(error: unknown): void;
}

/** Callers that only want a fence wait under this key. */
const NO_KEY = Symbol('no key');
type Asked = Map<string | typeof NO_KEY, Waiter[]>;

const ATTEMPTS = 6;

/**
 * Joins the callers of one event-loop turn into one statement. A caller is only ever served by a statement that starts
 * after it asked, so what it learns is never older than its question.
 */
export class Exchange {
  private waiting: Asked = new Map();
  private scheduled = false;
  private inFlight = 0;

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

  /** Ask for a key's row, or with no key just for a fence. */
  ask(key?: string): Promise<Reply> {
    return new Promise((resolve, reject) => {
      const asked = key ?? NO_KEY;
      const waiters = this.waiting.get(asked);
      if (waiters === undefined) this.waiting.set(asked, [{ resolve, reject }]);
      else waiters.push({ resolve, reject });
      this.schedule();
    });
  }

  private schedule(): void {
    if (this.scheduled || this.inFlight >= this.mostInFlight || this.waiting.size === 0) return;
    this.scheduled = true;
    // After the turn's I/O callbacks, so that all requests which arrived in it share the statement.
    setImmediate(() => {
      this.scheduled = false;
      const asked = this.waiting;
      this.waiting = new Map();
      this.inFlight++;
      void this.run(asked).finally(() => {
        this.inFlight--;
        this.schedule();
      });
    });
  }

  private async run(asked: Asked): Promise<void> {
    try {
      const keys = [...asked.keys()].filter((key) => typeof key === 'string').sort();
      const answer = await this.answer(keys, false);
      const rows = new Map<string, StoredRow>();
      const unknown: string[] = [];
      for (const row of answer.rows) {
        const verdict = this.memory.judge(row.key, row.proof, answer.fence);
        if (verdict === 'valid') rows.set(row.key, row);
        else if (verdict === 'unknown') unknown.push(row.key);
      }
      const number = this.memory.now;
      const old = new Set(unknown);
      for (const [key, waiters] of asked)
        if (key === NO_KEY || !old.has(key))
          settle(waiters, { row: rows.get(key as string) ?? null, fence: answer.fence, number, now: answer.now });
      if (unknown.length > 0) await this.prove(unknown, asked);
    } catch (error) {
      for (const waiters of asked.values()) for (const { reject } of waiters) reject(error);
    }
  }

  /** Rows fenced before this process began to remember: the log itself must prove them, in the statement that reads them. */
  private async prove(keys: string[], asked: Asked): Promise<void> {
    const answer = await this.answer(keys, true);
    const proven = new Map(
      answer.rows
        .filter(
          ({ proof: { fence } }) =>
            fence.incarnation === answer.fence.incarnation && fence.lo >= answer.horizon && fence.hi <= answer.fence.hi,
        )
        .map((row) => [row.key, { ...row, proof: { ...row.proof, fence: answer.fence } }]),
    );
    for (const key of keys)
      settle(asked.get(key)!, {
        row: proven.get(key) ?? null,
        fence: answer.fence,
        number: this.memory.now,
        now: answer.now,
      });
    if (proven.size > 0)
      this.store.refence([...proven.values()], answer.fence).catch((error: Error) => this.onError('refence', error));
  }

  private async answer(keys: readonly string[], prove: boolean): Promise<ExchangeAnswer> {
    for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
      const request = { since: this.memory.base, keys, prove };
      const { epoch } = this.memory;
      const start = moment(this.clock);
      const answer = await this.store.exchange(request);
      if (answer === null) await this.store.recover();
      else if (this.memory.apply(answer, request, epoch)) {
        if (request.since !== null && request.since.incarnation !== answer.fence.incarnation) await this.reborn();
        else {
          this.proof.renew(start, answer.fence);
          return answer;
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
