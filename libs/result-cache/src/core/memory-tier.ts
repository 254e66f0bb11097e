import { LRUCache } from 'lru-cache';
import { type Clock } from './clock.js';
import { type OldValue } from './stale.js';
import { type Proof } from './store.js';
import { type TouchMemory } from './touch-memory.js';
import { copyAgain, copyValue } from './values/index.js';

export interface MemoryTierOptions {
  /** Most entries kept. */
  maxEntries: number;
  /** Most bytes kept, counted as JSON. */
  maxBytes: number;
  /** Milliseconds an entry is kept at most. */
  ttlMs: number;
}

interface Entry {
  value: unknown;
  proof: Proof;
  /** Everything told up to this exchange is known not to concern the entry. */
  since: number;
  /** Until when it is kept here, in monotonic milliseconds. */
  expiresAt: number;
  /** Until when it could be served at all. */
  endsAt: number;
  /** Until when it is kept for {@link MemoryTier.old}; 0: not at all. */
  staleUntil: number;
}

/** A hit in memory: a copy of the value, and what is known about it. */
export interface MemoryHit {
  value: unknown;
  proof: Proof;
  /** Milliseconds it may still be served. */
  leftMs: number;
}

/**
 * Values of one cache in this process. An entry is only ever served as of what the process has been told: whether that
 * is new enough is for the caller to see to.
 */
export class MemoryTier {
  private readonly entries: LRUCache<string, Entry>;
  /** When a key was last computed here, in monotonic milliseconds: that value may be newer than all that was told. */
  private readonly computed: LRUCache<string, number>;
  private readonly ttlMs: number;

  constructor(
    { maxEntries, maxBytes, ttlMs }: MemoryTierOptions,
    private readonly touches: TouchMemory,
    private readonly clock: Clock,
    onEviction: () => void = () => undefined,
  ) {
    this.ttlMs = ttlMs;
    this.computed = new LRUCache<string, number>({ max: maxEntries });
    this.entries = new LRUCache<string, Entry>({
      max: maxEntries,
      maxSize: maxBytes,
      dispose: (_entry, _key, reason) => {
        if (reason === 'evict') onEviction();
      },
    });
  }

  get size(): number {
    return this.entries.size;
  }

  get bytes(): number {
    return this.entries.calculatedSize;
  }

  /** Whether there is an entry that nothing told so far makes void. */
  has(key: string, now = this.clock.monotonic()): boolean {
    return this.current(key, now) !== undefined;
  }

  /**
   * The entry as of everything told so far.
   * @param now In monotonic milliseconds, for a caller who has just looked.
   */
  get(key: string, now = this.clock.monotonic()): MemoryHit | undefined {
    const entry = this.current(key, now);
    if (entry === undefined) return undefined;
    // Seen to be good up to now: the touches before may be forgotten.
    entry.since = this.touches.now;
    return { value: copyAgain(entry.value), proof: entry.proof, leftMs: entry.endsAt - now };
  }

  /** What is still kept of a value that may not be good any more. */
  old(key: string): OldValue | undefined {
    const entry = this.entries.get(key);
    if (entry === undefined || entry.staleUntil <= this.clock.monotonic()) return undefined;
    const { proof, endsAt, since, value } = entry;
    return { proof, endsAt, since, isInvalidated: false, tier: 'memory', read: () => ({ value: copyAgain(value) }) };
  }

  /**
   * A value of the key was computed and is handed out: whoever has seen it must not be shown an older one. What memory
   * holds may be older, and so may what was asked for, or began to be computed, before this moment.
   */
  supersede(key: string): void {
    this.entries.delete(key);
    this.computed.set(key, this.clock.monotonic());
  }

  /** Whether the key was computed here after a moment, in monotonic milliseconds. */
  isSuperseded(key: string, since: number): boolean {
    return (this.computed.get(key) ?? -Infinity) > since;
  }

  /**
   * Keep a value whose proof is good as of everything told so far, or let it be. The value is copied.
   * @param leftMs How long it may be served by the database's clock.
   * @param staleMs How much longer it is to be had from {@link old}, within the limits of size only.
   */
  keep(key: string, value: unknown, proof: Proof, leftMs: number, bytes: number, staleMs = 0): void {
    if (this.touches.judge(key, proof, proof.fence) !== 'valid') return;
    const ttl = Math.min(leftMs, this.ttlMs);
    if (ttl <= 0) return;
    const now = this.clock.monotonic();
    const entry = {
      value: copyValue(value),
      proof,
      since: this.touches.now,
      expiresAt: now + ttl,
      endsAt: now + leftMs,
      staleUntil: staleMs > 0 ? now + leftMs + staleMs : 0,
    };
    this.entries.set(key, entry, { size: Math.max(1, bytes + key.length) });
  }

  private current(key: string, now: number): Entry | undefined {
    const entry = this.entries.get(key);
    if (entry === undefined) return undefined;
    if (entry.expiresAt > now && !this.touches.touchedAfter(entry.since, key, entry.proof.tags)) return entry;
    if (entry.staleUntil <= now) this.entries.delete(key);
    return undefined;
  }
}
