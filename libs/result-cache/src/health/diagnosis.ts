import { type BreakerState } from '../core/circuit-breaker.js';
import { type StoreReading } from '../core/store-probe.js';
import { NotInstalledError } from '../postgres/index.js';
import { type CheckedHealthOptions } from './health-options.js';

/** What a check says about one cache. Figures only: neither keys nor tenants nor connection details. */
export interface CacheDiagnosis {
  /** Whether the cache can use its database at all. */
  available: boolean;
  /** `open`: callers are turned away at once, because the database did not answer. */
  breaker?: BreakerState;
  /** What is wrong, each with what to do. */
  problems: string[];
  /** What is not wrong but could be better. */
  hints: string[];
  hits: number;
  misses: number;
  /** From 0 to 1, of this process. */
  hitRate: number;
  totalEntries?: number;
  expiredEntries?: number;
  tableSizeBytes?: number;
}

interface Reads {
  hits: number;
  misses: number;
  hitRate: number;
}

/** The hit rate below which a cache deserves a look, and the one to aim at. */
const TARGETS = [
  { rate: 0.7, text: 'values may expire too soon, or be written more often than read' },
  { rate: 0.8, text: 'the target' },
];

/** Hold figures against thresholds. */
export function diagnose(
  { hits, misses, hitRate }: Reads,
  reading: StoreReading,
  options: CheckedHealthOptions,
): CacheDiagnosis {
  const problems: string[] = [];
  const hints: string[] = [];

  if (!reading.ok) problems.push(whyUnavailable(reading.error));
  else {
    const { expiredEntries, tableSizeBytes, cascadeMs = 0 } = reading.stats;
    if (expiredEntries > options.maxExpiredEntries)
      problems.push(
        `${count(expiredEntries)} expired entries, over ${count(options.maxExpiredEntries)}: the purge does not run or does not keep up; shorten its interval`,
      );
    if (tableSizeBytes > options.maxTableSizeBytes)
      problems.push(
        `the table holds ${count(tableSizeBytes)} bytes, over ${count(options.maxTableSizeBytes)}: shorten TTLs, purge more often, or VACUUM it`,
      );
    if (cascadeMs > options.maxCascadeMs)
      problems.push(
        `writes take ${cascadeMs.toFixed(1)} ms to cascade, over ${options.maxCascadeMs}: review the rules, CascadeService.getGraph() shows them`,
      );
  }

  // The first reads of a process are misses; a rate over few says nothing.
  if (hits + misses >= options.minReads && hits + misses > 0) {
    if (hitRate < options.minHitRate)
      problems.push(
        `hit rate ${percent(hitRate)}, under ${percent(options.minHitRate)}: TTLs are too short, or writes invalidate more than they must`,
      );
    const target = TARGETS.find(({ rate }) => hitRate < rate);
    if (target !== undefined) hints.push(`hit rate ${percent(hitRate)}, under ${percent(target.rate)}: ${target.text}`);
  }

  return {
    available: reading.ok,
    problems,
    hints,
    hits,
    misses,
    hitRate,
    ...(reading.ok && {
      totalEntries: reading.stats.totalEntries,
      expiredEntries: reading.stats.expiredEntries,
      tableSizeBytes: reading.stats.tableSizeBytes,
    }),
  };
}

/** The driver's messages name hosts and users, and health pages are often public: the code says enough. */
function whyUnavailable(error: Error): string {
  let code: string | undefined;
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
    if (cause instanceof NotInstalledError)
      return 'off: the database is not set up for the cache, and its role may not do it; the log says which statements to run';
    const found = (cause as { code?: unknown }).code;
    if (typeof found === 'string') code ??= found;
  }
  return `the database of the cache cannot be used (${code ?? error.name}); methods compute meanwhile`;
}

const count = (value: number): string => value.toLocaleString('en-US');
/** Rounded down, so that what is under a threshold does not read like the threshold. */
const percent = (rate: number): string => `${Math.floor(rate * 1000 + 1e-9) / 10} %`;
