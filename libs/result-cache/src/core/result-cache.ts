import { systemClock, type Clock } from './clock.js';
import { Computation } from './computation.js';
import { DEFAULT_MAX_TTL, DEFAULT_TTL } from './defaults.js';
import { type Dependencies } from './dependencies.js';
import { ttlToMs, type NamedTtls, type Ttl } from './duration.js';
import { CacheConfigurationError, shown } from './errors.js';
import { type Fence } from './fence.js';
import { type Freshness } from './freshness.js';
import { type LeaseOptions } from './lease-options.js';
import { MemoryTier } from './memory-tier.js';
import { withOneFence } from './operation.js';
import { storableKey, storablePattern } from './raw-key.js';
import { ReadPath } from './read-path.js';
import { Recorder } from './recorder.js';
import { checkKeys } from './option-keys.js';
import { renewalPart, type RenewalOptions } from './renewal-options.js';
import { ENTRY_KEYS, Policy, saysWhenVoid, tooManyTags, type EntryOptions } from './policy.js';
import { Session } from './session.js';
import { type CacheStats } from './stats.js';
import { type CacheStore, type PurgeResult, type Queryable } from './store.js';
import { encodeValue, type ClassRegistry } from './values/index.js';

/** What a {@link ResultCache} is made with. */
export interface ResultCacheOptions extends RenewalOptions {
  /** Where entries and the truth about them live; usually a `PostgresCache`. */
  store: CacheStore;
  /** Name in statistics, metrics and `Cache-Status`. Default `result-cache`. */
  name?: string;
  /** Used where no TTL is given: seconds or `'5m'`. Default 300. */
  defaultTtl?: Ttl;
  /** Longest TTL allowed. Default one day. Not longer than the store's. */
  maxTtl?: Ttl;
  /** TTLs with names, for `ttl: { named: 'user_profile' }`. */
  ttls?: NamedTtls;
  /** Count hits and misses. Default `true`. */
  enableStats?: boolean;
  /** Larger values are returned but not stored. Default 100,000 bytes of JSON. */
  maxValueBytes?: number;
  /** Values that depend on more domains, tags and rows than this are returned but not stored. Default 10,000. */
  maxTags?: number;
  /**
   * `'strict'` (default): a write makes void what depends on it. `'ttl'`: nothing is tracked, every entry lives for its
   * TTL whatever happens to the data.
   */
  invalidation?: 'strict' | 'ttl';
  /** How old a value served from memory may be: `'strict'` (default) or `{ maxStaleness: '50ms' }`. */
  freshness?: Freshness;
  /** Have one process compute a missing value while the others wait for it. Default `false`. */
  lease?: boolean | LeaseOptions;
  /** The memory tier: `false` for none. */
  memory?: MemoryOptions | false;
  /**
   * Milliseconds a read waits for the cache's database; then it computes its value itself, and the value is not stored.
   * Default 250; `Infinity` to wait as long as it takes. Caches on one store share their statements, and so the shortest.
   */
  timeout?: number;
  clock?: Clock;
  /** From 0 to less than 1, for `ttlJitter`. Default `Math.random`. */
  random?: () => number;
}

/** The memory tier of one cache in one process. */
export interface MemoryOptions {
  /** Most entries. Default 1,000. */
  maxEntries?: number;
  /** Most bytes, counted as JSON. Default 64 MiB. */
  maxBytes?: number;
  /** Longest time an entry is kept. Default 60 s. */
  ttl?: Ttl;
}

/** A value with what is known about it. */
export interface EntryMetadata<T> {
  value: T;
  /** For each tag it depends on, the transaction up to which its data was current. Opaque: compare for equality only. */
  versions: Record<string, number>;
  cachedAt: Date;
  expiresAt: Date;
}

/** Options of {@link ResultCache.set}: those of the entry, and since when its value holds. */
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
  private readonly recorder: Recorder;
  private readonly session: Session;
  private readonly memory: MemoryTier | null;
  private readonly reads: ReadPath;
  private readonly maxValueBytes: number;
  private readonly maxTags: number;
  private readonly maxEntries: number;
  private readonly ttls: NamedTtls;
  private readonly freshness: Freshness;
  private readonly lease: boolean | LeaseOptions;
  private readonly renewal: RenewalOptions | null;
  private readonly random: () => number;
  private readonly tracks: boolean;
  private readonly plain: Policy;

  /** @throws CacheConfigurationError for a wrong option. */
  constructor(options: ResultCacheOptions) {
    this.name = options.name ?? 'result-cache';
    if (typeof this.name !== 'string')
      throw new CacheConfigurationError(`name: ${shown(this.name)} is no text; leave it out, or write name: 'reports'`);
    this.store = options.store;
    const clock = options.clock ?? systemClock;
    this.maxTtlMs = ttlToMs(options.maxTtl ?? DEFAULT_MAX_TTL, 'maxTtl');
    this.defaultTtl = options.defaultTtl ?? Math.min(DEFAULT_TTL, this.maxTtlMs / 1000);
    this.maxValueBytes = positive(options.maxValueBytes ?? 100_000, 'maxValueBytes');
    this.maxTags = positive(options.maxTags ?? MOST_TAGS, 'maxTags');
    this.ttls = options.ttls ?? {};
    this.maxEntries = options.memory === false ? 0 : (options.memory?.maxEntries ?? MOST_ENTRIES);
    this.freshness = options.freshness ?? 'strict';
    this.lease = options.lease ?? false;
    this.renewal = renewalPart(options);
    this.random = options.random ?? Math.random;
    this.tracks = options.invalidation !== 'ttl';
    this.recorder = new Recorder(this.name, options.enableStats ?? true, clock);
    this.session = Session.of(options.store, clock);
    this.session.answerWithin(milliseconds(options.timeout ?? 250));
    this.memory =
      options.memory === false
        ? null
        : memoryTier(options.memory ?? {}, this.session, clock, () => this.recorder.evicted());
    const { maxValueBytes, maxTags, tracks, random } = this;
    this.reads = new ReadPath(this.session, this.memory, this.recorder, clock, maxValueBytes, maxTags, tracks, random);
    // With the cache's own options as if they were the entry's, so that what is wrong with them is found now.
    this.plain = this.policy({ untracked: true, ...this.renewal }, undefined, `the cache '${this.name}'`);
  }

  /**
   * Check options once and keep them, for a method that is called often.
   * @throws CacheConfigurationError
   */
  policy(options: EntryOptions, view?: string, where?: string, registry?: ClassRegistry): Policy {
    checkKeys(options, ENTRY_KEYS, where ?? view ?? 'the cached value');
    if (this.tracks && !saysWhenVoid(options))
      throw new CacheConfigurationError(
        `${where ?? view ?? 'the cached value'} says nothing about what it depends on; write domains: ['user'] (the kinds of data it reads), tags: [...], or untracked: true to accept staleness up to the TTL`,
      );
    if (options.domains === 'infer' && this.tracks) {
      if (this.store.inferences === undefined)
        throw new CacheConfigurationError(
          `${where ?? view ?? 'the cached value'}: domains: 'infer' needs a store that knows the database's definitions, as PostgresCache does; list the domains`,
        );
      this.store.inferences.observe();
    }
    const { defaultTtl: ttl, maxTtlMs, freshness, lease, renewal, ttls } = this;
    const policy = new Policy(options, { ttl, maxTtlMs, freshness, lease, renewal, where, ttls }, view, registry);
    if (policy.lease !== null && this.store.leases === undefined)
      throw new CacheConfigurationError(
        `${where ?? view ?? 'the cached value'}: lease needs a store that has leases, as PostgresCache does; leave it out`,
      );
    return policy;
  }

  /** A fence, to be taken before computing a value that is stored with `set` later. */
  async fence(): Promise<Fence> {
    return (await this.session.ask()).fence;
  }

  /**
   * Run `work` with one fence, taken now, for all that is computed in it: computations may then use what was read earlier in
   * `work`, by a DataLoader, say. Without it, only what they read themselves after they were asked for.
   */
  async withFence<T>(work: () => Promise<T>): Promise<T> {
    return withOneFence(this.session, work);
  }

  /** The value of a key, or `undefined` where there is none or it is void. A stored `undefined` looks the same; see {@link exists}. */
  async get<T = unknown>(key: string, tenantId?: string): Promise<T | undefined> {
    return (await this.reads.find<T>(storableKey(key), this.plain, 'get', tenantId))?.value;
  }

  /** The value with its versions and times, or `undefined`. */
  async getWithMetadata<T = unknown>(key: string): Promise<EntryMetadata<T> | undefined> {
    const found = await this.reads.find<T>(storableKey(key), this.plain, 'get');
    if (found === undefined) return undefined;
    const { fence, tags, cachedAt, expiresAt } = found.proof;
    return {
      value: found.value,
      versions: Object.fromEntries(tags.map((tag) => [tag, fence.hi])),
      cachedAt: new Date(cachedAt),
      expiresAt: new Date(expiresAt),
    };
  }

  /** Several values in one statement, by key; keys without a valid entry are missing from the map. */
  async getMany<T = unknown>(keys: readonly string[], tenantId?: string): Promise<Map<string, T>> {
    const found = await Promise.all(
      keys.map(async (key) => [key, await this.reads.find<T>(storableKey(key), this.plain, 'get', tenantId)] as const),
    );
    return new Map(found.flatMap(([key, entry]) => (entry === undefined ? [] : [[key, entry.value]])));
  }

  /** Whether a valid entry exists, whatever its value. */
  async exists(key: string): Promise<boolean> {
    // A computation that asks would not be told when the answer changes.
    Computation.current()?.spoil();
    return (await this.reads.ask(storableKey(key)))?.row != null;
  }

  /**
   * The value of a key, computed if it is missing: once, however many callers of this process ask meanwhile.
   *
   * Never throws for the cache's own sake: if its database cannot be asked, the value is computed and returned.
   * @throws whatever `compute` throws; CacheConfigurationError for wrong options.
   */
  getOrSet<T>(key: string, compute: () => Promise<T>, options: EntryOptions | Policy): Promise<T> {
    try {
      return this.getOrSetNow(key, compute, options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  private getOrSetNow<T>(key: string, compute: () => Promise<T>, options: EntryOptions | Policy): Promise<T> {
    const policy = options instanceof Policy ? options : this.policy(options);
    const tenantId = options instanceof Policy ? undefined : options.tenantId;
    return this.readThrough(storableKey(key), compute, policy, tenantId);
  }

  /** {@link getOrSet} for a policy made beforehand. */
  readThrough<T>(key: string, compute: () => Promise<T>, policy: Policy, tenantId?: string): Promise<T> {
    return this.reads.readThrough(key, compute, policy, tenantId);
  }

  /**
   * Say what the value being computed by the code around this call depends on, beside what its policy names: for code
   * that knows only when it has read. Call it before the computation ends. Does nothing where none is under way. A domain
   * that is not tracked keeps the value out of the cache.
   */
  async dependOn(what: Partial<Dependencies>): Promise<void> {
    await this.reads.dependOn({ domains: [], free: [], rows: [], ...what });
  }

  /** Keep the value being computed by the code around this call out of the cache; `why` is reported once. */
  doNotKeep(why: string): void {
    this.reads.doNotKeep(why);
  }

  /** As {@link doNotKeep}, of a value that is not even what its key says: nobody who waits for it gets it either. */
  withhold(why: string): void {
    this.reads.withhold(why);
  }

  /**
   * Compute a value that its caller does not want cached, or that only its open transaction may see, and say so in
   * statistics and `Cache-Status`. A cached computation around it depends on what `policy` names all the same.
   */
  async computeUncached<T>(
    compute: () => Promise<T>,
    policy: Policy,
    reason: 'declined' | 'transaction' = 'declined',
  ): Promise<T> {
    return this.reads.computeUncached(compute, policy, reason);
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
  async set(key: string, value: unknown, options?: SetOptions): Promise<boolean> {
    return (await this.setMany([[key, value]], options)) > 0;
  }

  /** Store several values at once; see {@link set}. Returns how many were stored. */
  async setMany(
    entries: Iterable<readonly [key: string, value: unknown]>,
    { fence: given, ...options }: SetOptions = { untracked: true },
  ): Promise<number> {
    if (options.domains === 'infer')
      throw new CacheConfigurationError(
        "set: domains: 'infer' finds what is read while a value is computed, and set computes nothing; use getOrSet, or list the domains",
      );
    const dependent = [options.domains, options.tags, options.rows].some(
      (list) => Array.isArray(list) && list.length > 0,
    );
    if (dependent && given === undefined)
      throw new CacheConfigurationError(
        'set: a value with domains, tags or rows needs the fence taken before it was computed: const fence = await cache.fence(); …compute…; set(key, value, { …, fence }). Or use getOrSet, which does it',
      );
    const policy = this.policy({ untracked: !dependent, ...options });
    const { registry, dependencies, view } = policy;
    const tooMany = tooManyTags(0, dependencies, this.maxTags);
    if (tooMany !== null) throw tooMany;
    const encoded = [...entries].map(([key, value]) => ({
      key: storableKey(key),
      ttlMs: policy.lifetimeOf(value, this.random),
      ...encodeValue(value, { registry, maxBytes: this.maxValueBytes }),
    }));
    if (encoded.length === 0 || (await this.reads.whyBypassed(policy)) !== null) return 0;
    const keys = encoded.map(({ key }) => key);
    const fence = await this.renewed(keys, policy, given);
    if (fence === null) return 0;
    const tenantId = options.tenantId ?? null;
    const stored = encoded.map(async ({ key, json, types, bytes, ttlMs }) => {
      if (ttlMs <= 0) return false;
      const staleMs = policy.staleMs(ttlMs);
      const fill = { key, json, types, fence, ttlMs, staleMs, tags: [], dependencies, view, computeMs: null, tenantId };
      const proof = await this.session.fills.add(fill);
      if (proof !== null) this.recorder.stored(view, bytes);
      return proof !== null;
    });
    return (await Promise.all(stored)).filter(Boolean).length;
  }

  /** Compute what is missing of these, so that the first user need not wait. */
  async warm(
    entries: Iterable<{ key: string; compute: () => Promise<unknown>; options: EntryOptions }>,
  ): Promise<void> {
    await Promise.all([...entries].map(({ key, compute, options }) => this.getOrSet(key, compute, options)));
  }

  /** Make a key's value void with the commit of a transaction, and not at all with its rollback. */
  async deleteWithin(key: string, within: Queryable): Promise<void> {
    await this.session.deleteWithin([storableKey(key)], within);
  }

  /** Delete an entry, also where it is being computed now. Returns whether there was a live one. */
  async delete(key: string): Promise<boolean> {
    return (await this.session.delete([storableKey(key)])) > 0;
  }

  /**
   * Delete the entries whose key matches; `*` stands for any text, `\*` for a star. Other characters mean themselves.
   * @returns how many were deleted.
   */
  async invalidatePattern(pattern: string): Promise<number> {
    const { prefix, like } = storablePattern(pattern);
    return this.session.deleteMatching(prefix, like);
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

  /** Delete expired entries, and live ones beyond what the table may hold, trim the invalidation log, and look again whether all triggers are in place. */
  async purge(): Promise<PurgeResult> {
    const result = await this.store.purge();
    await this.session.domains.refresh();
    this.recorder.purged(result);
    return result;
  }

  /** What is wrong with a domain's triggers, `null` if nothing, `undefined` if no table feeds it. */
  async domainProblem(domain: string): Promise<string | null | undefined> {
    return this.session.domains.problem(domain);
  }

  /**
   * Counters of this process since the last {@link resetStats}, and the store's figures, which it is asked for.
   * @throws what the store throws; {@link counters} asks nobody.
   */
  async getStats(): Promise<CacheStats> {
    const size = this.memory?.size ?? 0;
    const memory = { size, maxSize: this.maxEntries, memoryEntries: size, memoryBytes: this.memory?.bytes ?? 0 };
    const stats = await this.store.stats();
    const { breaker } = this.store;
    return { ...this.recorder.snapshot(), ...memory, ...stats, ...(breaker && { breaker }) };
  }

  /** The counters of this process, without asking the database. */
  counters(): ReturnType<Recorder['snapshot']> {
    return this.recorder.snapshot();
  }

  /** Count from 0 again, in this process. */
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

  /**
   * Void what the keys held, in all processes, and return a fence from after that for what they will hold: the values' own
   * fence is older, so nothing they depend on may have been touched between the two.
   */
  private async renewed(
    keys: readonly string[],
    { dependencies }: Policy,
    own: Fence | undefined,
  ): Promise<Fence | null> {
    try {
      const tags = own === undefined ? [] : await this.store.tagsOf(dependencies);
      const stands = (key: string, now: Fence): boolean =>
        own === undefined || this.session.touches.judge(key, { ...NO_PROOF, fence: own, tags }, now) === 'valid';
      // A key that was deleted since its value was computed stays deleted.
      if (own !== undefined) {
        const { fence } = await this.session.ask();
        if (!keys.every((key) => stands(key, fence))) return null;
      }
      await this.session.delete(keys);
      const { fence } = await this.session.ask();
      return stands('', fence) ? fence : null;
    } catch (error) {
      this.recorder.failed('set', error as Error);
      return null;
    }
  }
}

/** Entries in memory where nothing else is said. */
const MOST_ENTRIES = 1_000;

/** What an entry depends on at most where nothing else is said: each of these comes with every hit. */
const MOST_TAGS = 10_000;

const NO_PROOF = { expiresAt: 0, cachedAt: 0, computeMs: null };

function memoryTier(
  { maxEntries = MOST_ENTRIES, maxBytes = 64 << 20, ttl = 60 }: MemoryOptions,
  session: Session,
  clock: Clock,
  onEviction: () => void,
): MemoryTier {
  const limits = {
    maxEntries: positive(maxEntries, 'memory.maxEntries'),
    maxBytes: positive(maxBytes, 'memory.maxBytes'),
    ttlMs: ttlToMs(ttl, 'memory.ttl'),
  };
  return new MemoryTier(limits, session.touches, clock, onEviction);
}

function milliseconds(timeout: number): number {
  if (typeof timeout !== 'number' || !(timeout > 0) || (timeout >= 2 ** 29 && timeout !== Infinity))
    throw new CacheConfigurationError(
      `timeout: ${shown(timeout)} is no time to wait; write milliseconds, such as 250, or Infinity`,
    );
  return timeout;
}

function positive(value: number, option: string): number {
  if (!Number.isFinite(value) || value <= 0)
    throw new CacheConfigurationError(`${option}: ${shown(value)} is not a positive number`);
  return value;
}
