import { register } from 'prom-client';
import { CacheConfigurationError, type CacheEvent, type ResultCache } from '../core/index.js';
import { events } from '../core/events.js';
import { EventMetrics } from './event-metrics.js';
import { MetricFactory } from './metric-factory.js';
import { checkMetricsOptions, type PrometheusCacheMetricsOptions, type PrometheusRegistry } from './metrics-options.js';
import { ScrapeMetrics } from './scrape-metrics.js';

/** One set of metrics on a registry, however many asked for it: two subscriptions would count everything twice. */
interface Shared {
  readonly tenantLabel: boolean;
  readonly users: Set<PrometheusCacheMetrics>;
  remove(): void;
}

const shared = new WeakMap<PrometheusRegistry, Map<string, Shared>>();

/**
 * What every cache of this process does, as Prometheus metrics. It listens to the cache's events, so it need not know
 * the caches; give it `caches` for their sizes.
 *
 * @example
 * const metrics = new PrometheusCacheMetrics({ caches: [cache] });
 * metrics.subscribe();
 * http.createServer(async (_, response) => response.end(await metrics.registry.metrics())).listen(9090);
 */
export class PrometheusCacheMetrics {
  readonly registry: PrometheusRegistry;
  private readonly prefix: string;

  /** @throws CacheConfigurationError for a wrong option. */
  constructor(private readonly options: PrometheusCacheMetricsOptions = {}) {
    checkMetricsOptions(options);
    this.registry = options.registry ?? register;
    this.prefix = options.prefix ?? 'fraiseql_cache_';
  }

  /**
   * Register the metrics and begin to count. A second subscriber with the same registry and prefix shares them; its
   * `caches` are added, its limits are those of the first. Calling it again changes nothing.
   * @throws CacheConfigurationError where the two differ in `tenantLabel`, or where a name is somebody else's.
   */
  subscribe(): void {
    const ofRegistry = shared.get(this.registry) ?? new Map<string, Shared>();
    shared.set(this.registry, ofRegistry);
    const existing = ofRegistry.get(this.prefix);
    const tenantLabel = this.options.tenantLabel ?? false;
    if (existing !== undefined && existing.tenantLabel !== tenantLabel)
      throw new CacheConfigurationError(
        `cache metrics: '${this.prefix}' is on this registry already with tenantLabel: ${existing.tenantLabel}; write the same here, or another prefix`,
      );
    const metrics = existing ?? this.create(tenantLabel);
    ofRegistry.set(this.prefix, metrics);
    metrics.users.add(this);
  }

  /** Stop counting. The last subscriber takes the metrics off the registry. */
  unsubscribe(): void {
    const ofRegistry = shared.get(this.registry);
    const metrics = ofRegistry?.get(this.prefix);
    if (!metrics?.users.delete(this) || metrics.users.size > 0) return;
    metrics.remove();
    ofRegistry?.delete(this.prefix);
  }

  private create(tenantLabel: boolean): Shared {
    const factory = new MetricFactory(this.registry, this.prefix);
    const users = new Set<PrometheusCacheMetrics>();
    const { maxLabelValues = 1_000, maxAge = 5, timeout = 1 } = this.options;
    let counted: EventMetrics;
    try {
      counted = new EventMetrics(factory, tenantLabel, maxLabelValues);
      new ScrapeMetrics(factory, () => [...users].flatMap((user) => [...user.caches()]), {
        maxAgeMs: maxAge * 1000,
        timeoutMs: timeout * 1000,
      });
    } catch (error) {
      factory.removeAll();
      throw error;
    }
    const listener = (event: unknown): void => {
      try {
        counted.record(event as CacheEvent);
      } catch {
        // What a subscriber throws, node makes an uncaught exception: a number that is not counted must not end the process.
      }
    };
    events.subscribe(listener);
    return {
      tenantLabel,
      users,
      remove() {
        events.unsubscribe(listener);
        factory.removeAll();
      },
    };
  }

  private caches(): Iterable<ResultCache> {
    const { caches = [] } = this.options;
    return typeof caches === 'function' ? caches() : caches;
  }
}
