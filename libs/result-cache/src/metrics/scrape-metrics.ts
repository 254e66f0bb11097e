import { type CacheStore, type Counters, type ResultCache, type StoreStats } from '../core/index.js';
import { StoreProbe, type StoreProbeOptions, type StoreReading } from '../core/store-probe.js';
import { type MetricFactory } from './metric-factory.js';

const BREAKER_STATES = ['closed', 'open', 'half-open'] as const;

type Reading = readonly [cache: ResultCache, reading: StoreReading];

/**
 * What is read when somebody scrapes: sizes from the stores, and the counters that no event carries. A store that does
 * not answer leaves gaps and `up 0`, never a failed scrape.
 */
export class ScrapeMetrics {
  private readonly probes = new WeakMap<CacheStore, StoreProbe>();

  constructor(
    private readonly factory: MetricFactory,
    private readonly caches: () => Iterable<ResultCache>,
    private readonly probing: StoreProbeOptions,
  ) {
    // A gauge, in spite of its ending: the name is the one FraiseQL's dashboards know.
    this.size('entries_total', 'Entries in the store, the expired ones included.', 'totalEntries');
    this.size('expired_entries', 'Entries that have expired and wait for the purge.', 'expiredEntries');
    this.size('table_size_bytes', 'Size of the table of entries with its indexes.', 'tableSizeBytes');
    this.size('log_size_bytes', 'Size of the invalidation log with its indexes.', 'logSizeBytes');
    factory.gauge('up', 'Whether the store answered in time: 1 or 0.', ['cache'], async (gauge) => {
      const readings = await this.readings();
      gauge.reset();
      for (const [{ name }] of readings) gauge.set({ cache: name }, 1);
      for (const [{ name }, { ok }] of readings) if (!ok) gauge.set({ cache: name }, 0);
    });
    this.counted('unstorable_total', 'Values that could not be stored (too large, cyclic, …).', 'unstorable');
    this.counted('too_large_total', 'Values over maxValueBytes, which were not stored.', 'tooLarge');
    this.counted('too_many_tags_total', 'Values over maxTags, which were not stored.', 'tooManyTags');
    this.counted('evictions_total', 'Entries removed from memory to stay within its limits.', 'evictions');
    this.counted('table_evictions_total', 'Live entries deleted to keep the table in its limits.', 'tableEvictions');
    this.breaker();
    this.counted('compute_seconds_saved_total', 'Computing that hits made unnecessary.', 'computeMsSaved', 1000);
  }

  private size(name: string, help: string, figure: keyof StoreStats): void {
    this.factory.gauge(name, help, ['cache'], async (gauge) => {
      const readings = await this.readings();
      // From here on synchronous, so that two scrapes at once do not add up.
      gauge.reset();
      const summed = new Set<CacheStore>();
      for (const [{ name, store }, reading] of readings) {
        // Caches may share a table: it stands once, under the first one's name, or a sum over caches would be too high.
        if (reading.ok && !summed.has(store)) gauge.inc({ cache: name }, reading.stats[figure]);
        summed.add(store);
      }
    });
  }

  /** Asks nobody, so it is right when the store does not answer. */
  private breaker(): void {
    this.factory.gauge('breaker_state', 'The state that holds is 1.', ['cache', 'state'], (gauge) => {
      gauge.reset();
      for (const { name, store } of new Set(this.caches()))
        for (const state of BREAKER_STATES)
          if (store.breaker) gauge.set({ cache: name, state }, store.breaker.state === state ? 1 : 0);
    });
    this.factory.counter('breaker_openings_total', 'How often it began to turn callers away.', ['cache'], (metric) => {
      metric.reset();
      for (const { name, store } of new Set(this.caches())) metric.inc({ cache: name }, store.breaker?.openings ?? 0);
    });
  }

  private counted(name: string, help: string, counter: keyof Counters, divisor = 1): void {
    this.factory.counter(name, help, ['cache'], (metric) => {
      metric.reset();
      for (const cache of new Set(this.caches()))
        metric.inc({ cache: cache.name }, cache.counters()[counter] / divisor);
    });
  }

  private async readings(): Promise<Reading[]> {
    const caches = [...new Set(this.caches())];
    return Promise.all(caches.map(async (cache) => [cache, await this.probe(cache.store).read()] as const));
  }

  private probe(store: CacheStore): StoreProbe {
    let probe = this.probes.get(store);
    if (probe === undefined) this.probes.set(store, (probe = new StoreProbe(store, this.probing)));
    return probe;
  }
}
