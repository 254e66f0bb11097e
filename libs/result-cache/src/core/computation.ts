import { AsyncLocalStorage } from 'node:async_hooks';
import { type Dependencies } from './dependencies.js';
import { type Fence } from './fence.js';
import { type ObservedStatement } from './inference.js';
import { type Policy } from './policy.js';
import { keyTag, type TouchMemory } from './touch-memory.js';
import { copyValue } from './values/index.js';

/** Gathers the statements that a computation sends. */
export interface StatementObserver {
  readonly computation: Computation;
  /** A statement was sent; `statement` resolves when it has been answered. */
  observe(statement: Promise<ObservedStatement>): void;
  /** Something was read of which nobody can tell what it depends on. */
  refuse(why?: string): void;
}

/** What runs in an async context: a computation, and who gathers the statements it sends, if they are to be found out. */
interface Frame {
  readonly computation: Computation | undefined;
  readonly observer?: StatementObserver | undefined;
  /** The cache's own statements. */
  readonly isAside?: boolean;
  /** Told that what is being computed past the cache is not the value of its key. */
  readonly withhold?: () => void;
}

const current = new AsyncLocalStorage<Frame | undefined>();

/**
 * One value being computed, from its fence until it is stored. What it reads through the cache meanwhile is reported to
 * it, so that it depends on everything that a nested value depends on, and lives no longer than it.
 */
export class Computation {
  private readonly parent = current.getStore()?.computation;
  private readonly tags = new Set<string>();
  private readonly inherited: Dependencies[] = [];
  private expiry = Infinity;
  private storable = true;
  private joined = false;
  private withheld = false;
  /** Computations that this one waits for: its own nested ones, and those it has joined. */
  private readonly awaited: Computation[] = [];
  /** What has still to be found out about it when it has ended. */
  private readonly pending: (() => Promise<void>)[] = [];
  private settling: Promise<void> | null = null;
  /** For those who join: a copy of the value made before its first owner could change it, or `null` if it has none. */
  private shared: Promise<{ copy: unknown } | null> = Promise.resolve(null);

  /** @param since Number of the exchange that brought the fence. */
  constructor(
    readonly key: string,
    readonly fence: Fence,
    readonly since: number,
    readonly policy: Policy,
    /** Whose value it is; `undefined` for one that all may see. */
    readonly tenantId?: string,
  ) {}

  /** The computation this code runs in, if any. */
  static current(): Computation | undefined {
    return current.getStore()?.computation;
  }

  /** Who gathers the statements that this code sends, if anybody does. */
  static observer(): StatementObserver | undefined {
    return current.getStore()?.observer;
  }

  /** The computation that a statement sent here is part of; none for the cache's own. */
  static sending(): Computation | undefined {
    const frame = current.getStore();
    return frame?.isAside === true ? undefined : frame?.computation;
  }

  /** Gather the statements that `work` sends; what they read becomes a dependency of `observer`'s computation. */
  static observed<T>(observer: StatementObserver, work: () => T): T {
    return current.run({ computation: observer.computation, observer }, work);
  }

  /** Send statements of the cache's own, which are nobody's dependencies. */
  static unobserved<T>(work: () => T): T {
    const frame = current.getStore();
    return frame === undefined ? work() : current.run({ ...frame, observer: undefined, isAside: true }, work);
  }

  /** Compute past the cache, and outside of any computation. `withhold`: see {@link withholdHere}. */
  static async apart<T>(work: () => Promise<T>, withhold: () => void): Promise<T> {
    return current.run({ computation: undefined, withhold }, async () => work());
  }

  /** What is being computed here is not the value of its key, so nobody else may have it. */
  static withholdHere(): void {
    const frame = current.getStore();
    frame?.computation?.withhold();
    frame?.withhold?.();
  }

  /** Work that is no part of a computation around it. */
  static outside<T>(work: () => T): T {
    return current.run(undefined, work);
  }

  /** A callback that runs in the context of its making, whoever calls it. */
  static bound<A extends unknown[], R>(callback: (...args: A) => R): (this: unknown, ...args: A) => R {
    const frame = current.getStore();
    return function (this: unknown, ...args: A) {
      return current.run(frame, () => callback.apply(this, args));
    };
  }

  /**
   * Compute the value; what `work` reads through the cache becomes a dependency. `isShareable` is asked before the caller
   * gets the value: a stream or a query that has yet to run can only be used by one, and a copy of it would be a ruin.
   */
  async run<T>(work: () => Promise<T>, isShareable: (value: T) => boolean, observer?: StatementObserver): Promise<T> {
    const value = current.run({ computation: this, observer }, async () => work());
    this.shared = value.then((result) => {
      try {
        return !this.withheld && isShareable(result) ? { copy: copyValue(result) } : null;
      } catch {
        return null;
      }
    });
    // With nobody joining, a failure is the caller's alone and must not count as unhandled.
    this.shared.catch(() => undefined);
    await this.shared;
    return value;
  }

  /** The value for somebody else; `null` if it is for its first owner alone. Rejects as the computation does. */
  async share(): Promise<{ copy: unknown } | null> {
    this.joined = true;
    const shared = await this.shared;
    return shared && { copy: copyValue(shared.copy) };
  }

  /** Whether somebody waits for this value beside its owner. */
  get isJoined(): boolean {
    return this.joined;
  }

  /** Resolves when the computation has ended, however. */
  async ended(): Promise<void> {
    await this.shared.catch(() => undefined);
  }

  /** Wait for a nested computation: until it has ended, what it has read counts as read by this one. */
  async await<T>(nested: Computation, work: () => Promise<T>): Promise<T> {
    this.awaited.push(nested);
    try {
      return await work();
    } finally {
      this.awaited.splice(this.awaited.indexOf(nested), 1);
    }
  }

  /** What this code has read, as far as nothing else tells. */
  dependOn(dependencies: Dependencies): void {
    this.inherited.push(dependencies);
  }

  /** A nested read was served from the cache. `expiresAt` is in the database's milliseconds. */
  dependOnEntry(tags: readonly string[], expiresAt: number): void {
    for (const tag of tags) this.tags.add(tag);
    this.expiry = Math.min(this.expiry, expiresAt);
  }

  /** A nested value was computed under `policy`. */
  dependOnPolicy(policy: Policy, expiresAt: number): void {
    // Where they are found while computing, the list keeps others from joining on what is known so far.
    if (policy.tags === null) this.inherited.push(policy.dependencies);
    else this.dependOnEntry(policy.tags, expiresAt);
    this.expiry = Math.min(this.expiry, expiresAt);
  }

  /** A nested computation has ended. */
  dependOnComputation(nested: Computation, expiresAt: number): void {
    this.dependOnPolicy(nested.policy, expiresAt);
    this.dependOnEntry([...nested.tags, keyTag(nested.key)], nested.expiry);
    this.inherited.push(...nested.inherited);
    if (!nested.storable) this.spoil();
  }

  /** As {@link dependOnComputation}, also where what the nested one depends on has still to be found out. */
  follow(nested: Computation, expiresAt: number): void {
    this.dependOnComputation(nested, expiresAt);
    if (!nested.isPending) return;
    this.pend(async () => {
      await nested.settled();
      this.dependOnComputation(nested, expiresAt);
    });
  }

  /** Have something found out when this has ended; `work` must not reject. */
  pend(work: () => Promise<void>): void {
    this.pending.push(work);
  }

  /** Whether something has still to be found out. */
  get isPending(): boolean {
    return this.pending.length > 0;
  }

  /** Find out what is pending. To be called when the value is complete. */
  async settled(): Promise<void> {
    this.settling ??= this.settle();
    await this.settling;
  }

  private async settle(): Promise<void> {
    await Promise.all(this.pending.map((work) => work()));
    this.pending.length = 0;
  }

  /** Something was read whose changes nobody would notice: this value cannot be cached. */
  spoil(): void {
    this.storable = false;
  }

  /** This is not the value of its key: it is its first owner's alone. */
  withhold(): void {
    this.withheld = true;
    this.spoil();
  }

  get isStorable(): boolean {
    return this.storable;
  }

  /** When the first of the nested values expires, in the database's milliseconds. */
  get expiresBefore(): number {
    return this.expiry;
  }

  /** What to store the value with: tags already written, and dependencies the database still has to write as tags. */
  written(): { tags: string[]; dependencies: Dependencies } {
    const { policy } = this;
    const open = policy.tags === null ? [policy.dependencies, ...this.inherited] : this.inherited;
    return {
      tags: [...new Set([...(policy.tags ?? []), ...this.tags])],
      dependencies: {
        domains: [...new Set(open.flatMap(({ domains }) => domains))],
        free: [...new Set(open.flatMap(({ free }) => free))],
        rows: open.flatMap(open.length > 1 ? toldApart : ({ rows }) => rows),
      },
    };
  }

  /** Domains it depends on as a whole or by rows, of its own and of what it has read. */
  get domains(): ReadonlySet<string> {
    const { domains, rows } = this.written().dependencies;
    return new Set([...this.policy.trackedDomains, ...domains, ...rows.map(([domain]) => domain)]);
  }

  /** Whether something is known that would make the value void, though it was to be found while computing. */
  get isAccountedFor(): boolean {
    const isNamed = ({ domains, free, rows }: Dependencies): boolean => domains.length + free.length + rows.length > 0;
    return !this.policy.discovers || !this.policy.namesNothing || this.tags.size > 0 || this.inherited.some(isNamed);
  }

  /** Whether {@link written} leaves nothing for the database to write. */
  get hasAllTags(): boolean {
    return this.policy.tags !== null && this.inherited.length === 0;
  }

  /** Whether what the store wrote for this value is what its policy alone depends on. */
  get isPlain(): boolean {
    return this.tags.size === 0 && this.inherited.length === 0;
  }

  /**
   * Whether somebody whose question came with the newest exchange may have this computation's value: only if nothing
   * was touched since it began of what it has read by now. (What it reads from now on is new enough.) Where its tags
   * are not known beforehand, any touch keeps the two apart. Joining a computation that waits for this code would wait
   * for ever.
   */
  isJoinable(memory: TouchMemory): boolean {
    return !this.waitsForCaller() && this.isUntouched(memory);
  }

  private isUntouched(memory: TouchMemory): boolean {
    // Of what spoils a value nobody is told, so it may be old already.
    if (!this.storable || !this.awaited.every((nested) => nested.isUntouched(memory))) return false;
    if (!memory.anythingAfter(this.since)) return true;
    const { tags } = this.policy;
    if (tags === null || this.inherited.length > 0 || this.isPending) return false;
    return !memory.touchedAfter(this.since, this.key, [...tags, ...this.tags]);
  }

  private waitsForCaller(): boolean {
    for (let running = Computation.current(); running !== undefined; running = running.parent)
      if (this.waitsFor(running)) return true;
    return false;
  }

  private waitsFor(other: Computation): boolean {
    return this === other || this.awaited.some((nested) => nested.waitsFor(other));
  }
}

/** The rows of one of several declarations. What another one names says nothing about what cascades to these. */
function toldApart({ domains, rows }: Dependencies): Dependencies['rows'] {
  const named = [...domains, ...rows.map(([domain]) => domain)];
  return rows.map(([domain, values, told]) => [domain, values, told ?? named]);
}
