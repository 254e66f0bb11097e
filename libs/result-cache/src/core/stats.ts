import { type BreakerStatus } from './circuit-breaker.js';

/** Counters since the start or the last `resetStats()`. */
export interface Counters {
  hits: number;
  misses: number;
  /** Callers that were given the value of a computation already under way. */
  joined: number;
  stores: number;
  /** Reads answered with a value that was not good any more, where an option allows it. */
  stale: number;
  /** Reads and writes that went past the cache: its database could not be asked, a domain is not tracked, … */
  bypassed: number;
  /** Values that could not be stored (too large, cyclic, …). */
  unstorable: number;
  /** Of these: those over `maxValueBytes`. */
  tooLarge: number;
  /** Of these: those over `maxTags`. */
  tooManyTags: number;
  /** Entries that left memory to stay within its limits. */
  evictions: number;
  /** Entries that this process deleted from the table to stay within its limits. */
  tableEvictions: number;
  errors: number;
  /** Milliseconds of computing that hits made unnecessary. */
  computeMsSaved: number;
}

/** Counters of one view. */
export interface ViewCounters extends Pick<Counters, 'hits' | 'misses' | 'computeMsSaved'> {
  /** `hits / (hits + misses)`, from 0 to 1; 0 before the first read. */
  hitRate: number;
}

/** What `getStats()` returns. */
export interface CacheStats extends Counters {
  /** `hits / (hits + misses)`, from 0 to 1; 0 before the first read. */
  hitRate: number;
  /** Entries in this process's memory, and most it keeps there; 0 without a memory tier. */
  size: number;
  maxSize: number;
  /** The same number as `size`, and the entries' size as JSON. */
  memoryEntries: number;
  memoryBytes: number;
  totalEntries: number;
  expiredEntries: number;
  /** Values as JSON, keys, tags and proofs: what `maxTableBytes` limits; missing where the store does not count it. */
  entryBytes?: number;
  tableSizeBytes: number;
  logSizeBytes: number;
  /** Whether the store turns callers away at present, and how often it began to; missing where it never does. */
  breaker?: BreakerStatus;
  /** By view, that is: by decorated method or queried view. */
  views: Record<string, ViewCounters>;
}

const MOST_VIEWS = 1_000;

/** Counts what the cache does. Plain additions: it is on the hot path. */
export class StatsRecorder {
  private counters = zero();
  private views = new Map<string, Pick<Counters, 'hits' | 'misses' | 'computeMsSaved'>>();

  constructor(private readonly enabled: boolean) {}

  count(what: Exclude<keyof Counters, 'hits' | 'misses' | 'computeMsSaved'>, by = 1): void {
    if (this.enabled) this.counters[what] += by;
  }

  hit(view: string, computeMsSaved: number): void {
    if (!this.enabled) return;
    const counters = this.view(view);
    this.counters.hits++;
    counters.hits++;
    this.counters.computeMsSaved += computeMsSaved;
    counters.computeMsSaved += computeMsSaved;
  }

  miss(view: string): void {
    if (!this.enabled) return;
    this.counters.misses++;
    this.view(view).misses++;
  }

  reset(): void {
    this.counters = zero();
    this.views.clear();
  }

  snapshot(): Counters & Pick<CacheStats, 'hitRate' | 'views'> {
    return {
      ...this.counters,
      hitRate: rate(this.counters),
      views: Object.fromEntries(
        [...this.views].map(([view, counters]) => [view, { ...counters, hitRate: rate(counters) }]),
      ),
    };
  }

  private view(name: string): Pick<Counters, 'hits' | 'misses' | 'computeMsSaved'> {
    // A program that makes up view names must not grow the map without end.
    const key = this.views.size < MOST_VIEWS || this.views.has(name) ? name : 'other';
    let counters = this.views.get(key);
    if (counters === undefined) this.views.set(key, (counters = { hits: 0, misses: 0, computeMsSaved: 0 }));
    return counters;
  }
}

function zero(): Counters {
  return {
    hits: 0,
    misses: 0,
    joined: 0,
    stores: 0,
    stale: 0,
    bypassed: 0,
    unstorable: 0,
    tooLarge: 0,
    tooManyTags: 0,
    evictions: 0,
    tableEvictions: 0,
    errors: 0,
    computeMsSaved: 0,
  };
}

function rate({ hits, misses }: { hits: number; misses: number }): number {
  return hits + misses === 0 ? 0 : hits / (hits + misses);
}
