import { systemClock, type Clock } from './clock.js';
import { type Computation } from './computation.js';
import { type Dependencies } from './dependencies.js';
import { Detours } from './detours.js';
import { DomainWatch } from './domain-watch.js';
import { StoreTimeoutError } from './errors.js';
import { events, STORE_EVENTS } from './events.js';
import { Exchange, type Reply } from './exchange.js';
import { FillQueue } from './fill-queue.js';
import { FreshnessProof } from './freshness.js';
import { jsonText } from './json.js';
import { Leases } from './leases.js';
import { Renewals } from './renewals.js';
import { type CacheStore, type Queryable } from './store.js';
import { TouchMemory } from './touch-memory.js';

const RETRY_MS = 1_000;
const MOST_ROWS_OWED = 1_000;
const sessions = new WeakMap<CacheStore, Session>();

/**
 * A process's side of one store: all caches on the store share its exchange, what it remembers, and what is being
 * computed, so that ten named caches still send one statement per turn.
 */
export class Session {
  /** What this process was told about the invalidation log. */
  readonly touches = new TouchMemory();
  /** How new that is. */
  readonly proof: FreshnessProof;
  readonly fills: FillQueue;
  readonly domains: DomainWatch;
  /** Which process computes; `undefined` where the store cannot tell. */
  readonly leases: Leases | undefined;
  /** What is being computed or stored, by key. */
  readonly running = new Map<string, Computation>();
  /** What is being computed because the store cannot be asked. */
  readonly detours = new Detours();
  /** What is being renewed in the background. */
  readonly renewals = new Renewals();
  private readonly exchange: Exchange;
  /** What is being found out before a value can be stored, and the storing itself. */
  private readonly settling = new Set<Promise<void>>();
  private owed: Dependencies[] = [];
  private paying: Promise<void> | null = null;
  private retry: NodeJS.Timeout | undefined;
  private timeoutMs = Infinity;
  /** What took longer than a read waits, and has not ended yet. */
  private overdue = 0;

  private constructor(
    readonly store: CacheStore,
    clock: Clock,
  ) {
    const onError = (operation: string, error: Error): void => this.failed(operation, error);
    this.proof = new FreshnessProof(clock);
    const onReborn = (): void => this.domains.forget();
    this.exchange = new Exchange(store, this.touches, this.proof, clock, undefined, onError, onReborn);
    this.fills = new FillQueue(store, onError);
    this.domains = new DomainWatch(store, onError, clock, () => this.touches.watchChanges);
    this.leases =
      store.leases &&
      new Leases({
        store: store.leases,
        clock,
        ask: (key) => this.ask(key),
        inTime: (work) => this.inTime(work),
        onError,
      });
  }

  static of(store: CacheStore, clock: Clock = systemClock): Session {
    let session = sessions.get(store);
    if (session === undefined) sessions.set(store, (session = new Session(store, clock)));
    return session;
  }

  /** Let no read wait for the store longer than this. Caches that share a session share the shortest of their limits. */
  answerWithin(ms: number): void {
    this.timeoutMs = Math.min(this.timeoutMs, ms);
    this.exchange.answerWithin(ms);
  }

  /** Join the exchange. @throws StoreTimeoutError, and what the store throws. */
  ask(key?: string): Promise<Reply> {
    return this.isInDebt ? this.inTime(this.payOwed()).then(() => this.exchange.ask(key)) : this.exchange.ask(key);
  }

  /** Whether an invalidation is still to be made before anything may be served. */
  get isInDebt(): boolean {
    return this.owed.length > 0;
  }

  /** Join the exchange without a key of one's own, while not {@link isInDebt}: all of one turn share one promise. */
  askForFence(): Promise<Reply> {
    return this.exchange.askForFence();
  }

  /** Wait for something else a read needs of the store. @throws StoreTimeoutError */
  async inTime<T>(work: Promise<T>): Promise<T> {
    const { timeoutMs } = this;
    if (timeoutMs === Infinity) return work;
    let timer: NodeJS.Timeout | undefined;
    const tooLate = new Promise<never>((_, reject) => {
      const expire = (): void => {
        this.overdue++;
        const end = (): void => void this.overdue--;
        work.then(end, end);
        reject(new StoreTimeoutError(timeoutMs));
      };
      // While nothing comes back, waiting as well would not help: only what is there already is taken.
      timer = setTimeout(() => setImmediate(expire), this.overdue > 0 ? 0 : timeoutMs);
    });
    return Promise.race([work, tooLate]).finally(() => clearTimeout(timer));
  }

  /**
   * Invalidate now. If the store does not answer in time the debt is kept and tried again: until it is paid this process
   * serves nothing from the cache, so one at least reads one's own writes. Within a transaction a failure is the
   * transaction's.
   */
  async invalidate(dependencies: Dependencies, within?: Queryable): Promise<void> {
    if (within !== undefined) {
      const open = await this.store.invalidate(dependencies, within);
      if (open !== null) this.proof.endWith(open);
      return;
    }
    this.owed.push(dependencies);
    await this.inTime(this.payOwed()).catch(() => undefined);
    this.proof.end();
  }

  /** Delete keys; what this process reads next knows. */
  async delete(keys: readonly string[]): Promise<number> {
    return this.store.delete(keys).finally(() => this.proof.end());
  }

  /** The same with the commit of a transaction of the caller's; until then every read asks. */
  async deleteWithin(keys: readonly string[], within: Queryable): Promise<void> {
    const open = await this.store.deleteWithin(keys, within);
    if (open !== null) this.proof.endWith(open);
  }

  async deleteMatching(prefix: string, like: string): Promise<number> {
    return this.store.deleteMatching(prefix, like).finally(() => this.proof.end());
  }

  /** Store something when this has ended; {@link drain} waits for it. */
  async settle(work: Promise<void>): Promise<void> {
    this.settling.add(work);
    return work.finally(() => this.settling.delete(work));
  }

  /** Wait for computations and stores under way. */
  async drain(): Promise<void> {
    await this.renewals.drain();
    await Promise.all([...this.running.values()].map((computation) => computation.ended()));
    await Promise.all(this.settling);
    await this.fills.drain();
    await this.leases?.drain();
  }

  /** Stop retrying; what is owed is lost with the process. */
  stop(): void {
    clearTimeout(this.retry);
    this.retry = undefined;
    this.owed = [];
  }

  /** Resolves when nothing is owed. All who wait share one statement at a time, or a store that hangs would collect them. */
  private async payOwed(): Promise<void> {
    while (this.owed.length > 0) {
      this.paying ??= this.pay().finally(() => (this.paying = null));
      await this.paying;
    }
  }

  private async pay(): Promise<void> {
    // Merged before it is paid: with a store that stays off the debt must not grow with every call.
    const debt = merged(this.owed);
    this.owed = [debt];
    try {
      await this.store.invalidate(debt);
      this.owed = this.owed.filter((other) => other !== debt);
    } catch (error) {
      this.failed('invalidate', error as Error);
      this.retry ??= setTimeout(() => {
        this.retry = undefined;
        this.payOwed().catch(() => undefined);
      }, RETRY_MS).unref();
      throw error;
    }
  }

  private failed(operation: string, error: Error): void {
    if (events.hasSubscribers) events.publish({ cache: STORE_EVENTS, type: 'error', operation, error });
  }
}

/** One debt for all of them; of very many rows only the domains, which is more than was asked for and never less. */
function merged(all: readonly Dependencies[]): Dependencies {
  const rows = new Map(all.flatMap((one) => one.rows).map((row) => [rowText(row), row]));
  const domains = all.flatMap((one) => one.domains);
  const tooMany = rows.size > MOST_ROWS_OWED;
  return {
    domains: [...new Set(tooMany ? [...domains, ...[...rows.values()].map(([domain]) => domain)] : domains)],
    free: [...new Set(all.flatMap(({ free }) => free))],
    rows: tooMany ? [] : [...rows.values()],
  };
}

function rowText(row: Dependencies['rows'][number]): string {
  return jsonText(row);
}
