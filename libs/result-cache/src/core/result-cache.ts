import { systemClock, type Clock } from './clock.js';
import { Computation } from './computation.js';
import { ttlToMs, type Ttl } from './duration.js';
import { CacheConfigurationError, UndecodableValueError, UnstorableValueError } from './errors.js';
import { type Reply } from './exchange.js';
import { type Fence } from './fence.js';
import { storableKey, storablePattern } from './raw-key.js';
import { Recorder, type Reading } from './recorder.js';
import { Policy, saysWhenVoid, type EntryOptions } from './policy.js';
import { Session } from './session.js';
import { type CacheStats } from './stats.js';
import { type CacheStore, type Dependencies, type PurgeResult, type Queryable, type StoredRow } from './store.js';
import { decodeValue, encodeValue, type ClassRegistry, type EncodedValue } from './values/index.js';

export interface ResultCacheOptions {
  /** Where entries and the truth about them live; usually a `PostgresCache`. */
  store: CacheStore;
  /** Name in statistics, metrics and `Cache-Status`. Default `result-cache`. */
  name?: string;
  /** Used where no TTL is given: seconds or `'5m'`. Default 300. */
  defaultTtl?: Ttl;
  /** Longest TTL allowed. Default one day. Not longer than the store's. */
  maxTtl?: Ttl;
  /** Count hits and misses. Default `true`. */
  enableStats?: boolean;
  /** Larger values are returned but not stored. Default 100,000 bytes of JSON. */
  maxValueBytes?: number;
  /**
   * `'strict'` (default): a write makes void what depends on it. `'ttl'`: nothing is tracked, every entry lives for its
   * TTL whatever happens to the data.
   */
  invalidation?: 'strict' | 'ttl';
  clock?: Clock;
}

/** A value with what is known about it. */
export interface EntryMetadata<T> {
  value: T;
  /** For each tag it depends on, the transaction up to which its data was current. Opaque: compare for equality only. */
  versions: Record<string, number>;
  cachedAt: Date;
  expiresAt: Date;
}

export interface SetOptions extends EntryOptions {
  /**
   * Taken with {@link ResultCache.fence} **before** the value was computed. Needed as soon as the value depends on
   * anything: without it nobody could tell whether a write came between computing and storing.
   */
  fence?: Fence;
}

/**
 * The engine: reads through the exchange, computes what is missing, stores it with its fence.
 *
 * @example
 * const users = await cache.getOrSet('active-users', () => repository.find({ active: true }), { domains: ['user'], ttl: '5m' });
 */
export class ResultCache {
  readonly name: string;
  readonly defaultTtl: Ttl;
  readonly maxTtlMs: number;
  readonly store: CacheStore;
  private readonly clock: Clock;
  private readonly recorder: Recorder;
  private readonly session: Session;
  private readonly maxValueBytes: number;
  private readonly tracks: boolean;
  private readonly plain: Policy;

  /** @throws CacheConfigurationError for a wrong option. */
  constructor(options: ResultCacheOptions) {
    this.name = options.name ?? 'result-cache';
    this.store = options.store;
    this.clock = options.clock ?? systemClock;
    this.maxTtlMs = ttlToMs(options.maxTtl ?? 86_400, 'maxTtl');
    this.defaultTtl = options.defaultTtl ?? Math.min(300, this.maxTtlMs / 1000);
    this.maxValueBytes = positive(options.maxValueBytes ?? 100_000, 'maxValueBytes');
    this.tracks = options.invalidation !== 'ttl';
    this.recorder = new Recorder(this.name, options.enableStats ?? true);
    this.session = Session.of(options.store);
    this.plain = this.policy({ untracked: true });
  }

  /**
   * Check options once and keep them, for a method that is called often.
   * @throws CacheConfigurationError
   */
  policy(options: EntryOptions, view?: string, where?: string, registry?: ClassRegistry): Policy {
    if (this.tracks && !saysWhenVoid(options))
      throw new CacheConfigurationError(
        `${where ?? view ?? 'the cached value'} says nothing about what it depends on; write domains: ['user'] (the kinds of data it reads), tags: [...], or untracked: true to accept staleness up to the TTL`,
      );
    return new Policy(options, { ttl: this.defaultTtl, maxTtlMs: this.maxTtlMs, where }, view, registry);
  }

  /** A fence, to be taken before computing a value that is stored with `set` later. */
  async fence(): Promise<Fence> {
    return (await this.session.ask()).fence;
  }

  /** The value of a key, or `undefined` where there is none or it is void. A stored `undefined` looks the same; see {@link exists}. */
  async get<T = unknown>(key: string, view = 'get'): Promise<T | undefined> {
    return (await this.read<T>(storableKey(key), this.plain, view))?.value;
  }

  /** The value with its versions and times, or `undefined`. */
  async getWithMetadata<T = unknown>(key: string): Promise<EntryMetadata<T> | undefined> {
    const found = await this.read<T>(storableKey(key), this.plain, 'get');
    if (found === undefined) return undefined;
    const { fence, tags, cachedAt, expiresAt } = found.row.proof;
    return {
      value: found.value,
      versions: Object.fromEntries(tags.map((tag) => [tag, fence.hi])),
      cachedAt: new Date(cachedAt),
      expiresAt: new Date(expiresAt),
    };
  }

  /** Several values in one statement, by key; keys without a valid entry are missing from the map. */
  async getMany<T = unknown>(keys: readonly string[]): Promise<Map<string, T>> {
    const found = await Promise.all(
      keys.map(async (key) => [key, await this.read<T>(storableKey(key), this.plain, 'get')] as const),
    );
    return new Map(found.flatMap(([key, entry]) => (entry === undefined ? [] : [[key, entry.value]])));
  }

  /** Whether a valid entry exists, whatever its value. */
  async exists(key: string): Promise<boolean> {
    return (await this.ask(storableKey(key)))?.row != null;
  }

  /**
   * The value of a key, computed if it is missing: once, however many callers of this process ask meanwhile.
   *
   * Never throws for the cache's own sake: if its database cannot be asked, the value is computed and returned.
   * @throws whatever `compute` throws; CacheConfigurationError for wrong options.
   */
  async getOrSet<T>(key: string, compute: () => Promise<T>, options: EntryOptions | Policy): Promise<T> {
    const policy = options instanceof Policy ? options : this.policy(options);
    const tenantId = options instanceof Policy ? undefined : options.tenantId;
    return this.readThrough(storableKey(key), compute, policy, tenantId);
  }

  /** {@link getOrSet} for a policy made beforehand. */
  async readThrough<T>(key: string, compute: () => Promise<T>, policy: Policy, tenantId?: string): Promise<T> {
    const reason = await this.whyBypassed(policy);
    if (reason !== null) return this.bypass(compute, policy, reason);
    const started = this.clock.monotonic();
    const reply = await this.ask(key);
    if (reply === null) return this.bypass(compute, policy, 'unavailable');

    const found = this.decode<T>(reply, policy);
    if (found !== undefined) {
      this.hit(found.row, reply.now, policy.view, started, tenantId);
      return found.value;
    }
    const running = this.session.running.get(key);
    if (running?.isJoinable(this.session.memory)) return this.join(running, compute, policy, reply, tenantId);
    this.recorder.miss(this.reading(policy.view, started, tenantId));
    return this.compute(key, compute, policy, reply, tenantId);
  }

  /**
   * Compute a value that its caller does not want cached, and say so in statistics and `Cache-Status`. A cached
   * computation around it depends on what `policy` names all the same.
   */
  async computeUncached<T>(compute: () => Promise<T>, policy: Policy): Promise<T> {
    return this.bypass(compute, policy, (await this.whyBypassed(policy)) ?? 'declined');
  }

  /**
   * Store a value. One that depends on anything (`domains`, `tags`, `rows`) needs the fence taken before it was computed.
   *
   * @returns whether it was stored: not if its fence is void already, its TTL 0, or the value cannot be stored.
   * @throws CacheConfigurationError; UnstorableValueError for a value that cannot be stored.
   * @example
   * const fence = await cache.fence();
   * const report = await compute();
   * await cache.set('report', report, { domains: ['order'], fence });
   */
  async set(key: string, value: unknown, options: SetOptions = { untracked: true }): Promise<boolean> {
    const dependent = [options.domains, options.tags, options.rows].some(
      (list) => list !== undefined && list.length > 0,
    );
    if (dependent && options.fence === undefined)
      throw new CacheConfigurationError(
        'set: a value with domains, tags or rows needs the fence taken before it was computed: const fence = await cache.fence(); …compute…; set(key, value, { …, fence }). Or use getOrSet, which does it',
      );
    const policy = this.policy({ untracked: !dependent, ...options });
    if ((await this.whyBypassed(policy)) !== null) return false;
    const fence = options.fence ?? (await this.ask())?.fence;
    if (fence === undefined) return false;
    const { json, types, bytes } = encodeValue(value, { registry: policy.registry, maxBytes: this.maxValueBytes });
    const { ttlMs, dependencies, view } = policy;
    const proof = await this.session.fills.add({
      key: storableKey(key),
      json,
      types,
      fence,
      ttlMs,
      tags: [],
      dependencies,
      view,
      computeMs: null,
      tenantId: options.tenantId ?? null,
    });
    if (proof !== null) this.recorder.stored(policy.view, bytes);
    return proof !== null;
  }

  /** Store several values in one statement; see {@link set}. */
  async setMany(entries: Iterable<readonly [key: string, value: unknown]>, options?: SetOptions): Promise<void> {
    await Promise.all([...entries].map(([key, value]) => this.set(key, value, options)));
  }

  /** Compute what is missing of these, so that the first user need not wait. */
  async warm(
    entries: Iterable<{ key: string; compute: () => Promise<unknown>; options: EntryOptions }>,
  ): Promise<void> {
    await Promise.all([...entries].map(({ key, compute, options }) => this.getOrSet(key, compute, options)));
  }

  /** Delete an entry, also where it is being computed now. Returns whether there was a live one. */
  async delete(key: string): Promise<boolean> {
    return (await this.store.delete([storableKey(key)])) > 0;
  }

  /**
   * Delete the entries whose key matches; `*` stands for any text, `\*` for a star. Other characters mean themselves.
   * @returns how many were deleted.
   */
  async invalidatePattern(pattern: string): Promise<number> {
    const { prefix, like } = storablePattern(pattern);
    return this.store.deleteMatching(prefix, like);
  }

  /**
   * Make void everything that depends on these, in all processes. Inside a transaction of your own, pass it as
   * `within`: then it takes effect with the commit, and not at all with a rollback.
   */
  async invalidate(what: Partial<Dependencies>, within?: Queryable): Promise<void> {
    const dependencies = { domains: [], free: [], rows: [], ...what };
    await this.session.invalidate(dependencies, within);
    this.recorder.invalidated(dependencies.domains, dependencies.free);
  }

  /** Delete expired entries, trim the invalidation log, and look again whether all triggers are in place. */
  async purge(): Promise<PurgeResult> {
    const result = await this.store.purge();
    await this.session.domains.refresh();
    this.recorder.purged(result.entries, result.logRows);
    return result;
  }

  /** What is wrong with a domain's triggers, `null` if nothing, `undefined` if no table feeds it. */
  async domainProblem(domain: string): Promise<string | null | undefined> {
    return this.session.domains.problem(domain);
  }

  async getStats(): Promise<CacheStats> {
    return { ...this.recorder.snapshot(), ...(await this.store.stats()) };
  }

  /** The counters of this process, without asking the database. */
  counters(): ReturnType<Recorder['snapshot']> {
    return this.recorder.snapshot();
  }

  resetStats(): void {
    this.recorder.reset();
  }

  /** Wait until everything computed so far is stored. */
  async drain(): Promise<void> {
    await this.session.drain();
  }

  /** Let go of timers; for the end of the application. */
  stop(): void {
    this.session.stop();
  }

  private async read<T>(key: string, policy: Policy, view: string): Promise<{ value: T; row: StoredRow } | undefined> {
    const started = this.clock.monotonic();
    const reply = await this.ask(key);
    if (reply === null) {
      this.recorder.bypassed(view, 'unavailable');
      return undefined;
    }
    const found = this.decode<T>(reply, policy);
    if (found === undefined) {
      // A computation that finds nothing here would not be told when somebody sets it.
      Computation.current()?.spoil();
      this.recorder.miss(this.reading(view, started));
    } else this.hit(found.row, reply.now, view, started);
    return found;
  }

  private async ask(key?: string): Promise<Reply | null> {
    try {
      return await this.session.ask(key);
    } catch (error) {
      this.recorder.failed('exchange', error as Error);
      return null;
    }
  }

  private decode<T>({ row }: Reply, policy: Policy): { value: T; row: StoredRow } | undefined {
    if (row === null) return undefined;
    try {
      return { value: decodeValue(row.json, row.types, policy.registry) as T, row };
    } catch (error) {
      if (error instanceof UndecodableValueError || error instanceof SyntaxError) return undefined;
      throw error;
    }
  }

  private async join<T>(
    running: Computation,
    compute: () => Promise<T>,
    policy: Policy,
    reply: Reply,
    tenantId?: string,
  ): Promise<T> {
    const shared = await running.share();
    if (shared === null) return this.bypass(compute, policy, 'unstorable');
    this.recorder.joined(policy.view, tenantId);
    Computation.current()?.dependOnComputation(running, reply.now + policy.ttlMs);
    return shared.copy as T;
  }

  private async compute<T>(
    key: string,
    compute: () => Promise<T>,
    policy: Policy,
    reply: Reply,
    tenantId?: string,
  ): Promise<T> {
    const computation = new Computation(key, reply.fence, reply.number, policy);
    this.session.running.set(key, computation);
    const started = this.clock.monotonic();
    let storing: Promise<void> | undefined;
    try {
      let encoded!: EncodedValue | UnstorableValueError;
      // Now, before the caller can change the value.
      const value = await computation.run(compute, (result) => {
        encoded = this.encode(result, policy, this.maxValueBytes);
        if (!(encoded instanceof UnstorableValueError)) return true;
        // Too large to store is not too large to share, as far as its end is data too; looked at only for those who wait.
        const isCut = encoded.reason === 'too-large';
        return (
          isCut && computation.isJoined && !(this.encode(result, policy, Infinity) instanceof UnstorableValueError)
        );
      });
      const computeMs = this.clock.monotonic() - started;
      this.recorder.computed(policy.view, computeMs);
      Computation.current()?.dependOnComputation(computation, reply.now + policy.ttlMs);
      storing = this.keep(encoded, computation, computeMs, reply.now, tenantId);
      return value;
    } finally {
      // Until it is stored it can still be joined; afterwards the row takes over.
      void Promise.resolve(storing).then(() => {
        if (this.session.running.get(key) === computation) this.session.running.delete(key);
      });
    }
  }

  private encode(value: unknown, { registry }: Policy, maxBytes: number): EncodedValue | UnstorableValueError {
    try {
      return encodeValue(value, { registry, maxBytes });
    } catch (error) {
      if (error instanceof UnstorableValueError) return error;
      throw error;
    }
  }

  /** Store soon. */
  private keep(
    encoded: EncodedValue | UnstorableValueError,
    computation: Computation,
    computeMs: number,
    startedAt: number,
    tenantId?: string,
  ): Promise<void> | undefined {
    const { policy, key, fence } = computation;
    if (!computation.isStorable) return undefined;
    const ttlMs = Math.min(policy.ttlMs, computation.expiresBefore - startedAt - computeMs);
    if (ttlMs <= 0) return undefined;
    if (encoded instanceof UnstorableValueError) {
      this.recorder.unstorable(policy.view, encoded);
      return undefined;
    }
    const { json, types, bytes } = encoded;
    const fill = {
      key,
      json,
      types,
      fence,
      ttlMs,
      computeMs,
      tenantId: tenantId ?? null,
      view: policy.view,
      ...computation.written(),
    };
    return this.session.fills.add(fill).then((proof) => {
      if (proof === null) return;
      if (computation.isPlain) policy.learn(proof.tags);
      this.recorder.stored(policy.view, bytes);
    });
  }

  private async whyBypassed(policy: Policy): Promise<string | null> {
    if (policy.ttlMs === 0) return 'ttl';
    if (!this.tracks || policy.untracked) return null;
    const problem = await this.session.domains.firstProblem(policy.trackedDomains);
    if (problem === null) return null;
    if (!this.session.domains.isKnown) return 'unavailable';
    this.recorder.untracked(policy.view, problem);
    return 'untracked';
  }

  /** Compute without the cache; an outer computation then reads what this one reads, by itself. */
  private async bypass<T>(compute: () => Promise<T>, policy: Policy, reason: string): Promise<T> {
    this.recorder.bypassed(policy.view, reason);
    const outer = Computation.current();
    if (reason === 'untracked' || reason === 'ttl') outer?.spoil();
    else outer?.dependOnPolicy(policy, Infinity);
    return compute();
  }

  private hit({ proof }: StoredRow, now: number, view: string, started: number, tenantId?: string): void {
    Computation.current()?.dependOnEntry(proof.tags, proof.expiresAt);
    this.recorder.hit(this.reading(view, started, tenantId), 'postgres', proof.expiresAt - now, proof.computeMs ?? 0);
  }

  private reading(view: string, started: number, tenantId?: string): Reading {
    return { view, tenantId, durationMs: this.clock.monotonic() - started };
  }
}

function positive(value: number, option: string): number {
  if (!Number.isFinite(value) || value <= 0)
    throw new CacheConfigurationError(`${option}: ${String(value)} is not a positive number`);
  return value;
}
