import { type CacheEvent } from '../core/index.js';
import { LabelCap } from './label-cap.js';
import { type MetricFactory } from './metric-factory.js';

/** Seconds. A hit that needs no statement is under the first, one that waited for a pool is in the last. */
const GET_BUCKETS = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1];

const VIEW = ['cache', 'view_name'] as const;
type ReadLabel = 'cache' | 'view_name' | 'tenant_id';

/** What is counted while it happens: each event of the cache adds to one or two metrics. */
export class EventMetrics {
  private readonly metrics: ReturnType<typeof define>;
  private readonly views: LabelCap;
  private readonly tenants: LabelCap;

  constructor(
    factory: MetricFactory,
    private readonly tenantLabel: boolean,
    maxLabelValues: number,
  ) {
    this.metrics = define(factory, tenantLabel);
    this.views = new LabelCap(maxLabelValues);
    this.tenants = new LabelCap(maxLabelValues);
  }

  record(event: CacheEvent): void {
    const { cache } = event;
    const { metrics } = this;
    switch (event.type) {
      case 'hit':
        metrics.hits.inc({ ...this.read(event), tier: event.tier });
        metrics.getDuration.observe({ cache, result: 'hit', tier: event.tier }, event.durationMs / 1000);
        break;
      case 'miss':
        metrics.misses.inc(this.read(event));
        metrics.getDuration.observe({ cache, result: 'miss' }, event.durationMs / 1000);
        break;
      case 'joined':
        metrics.joined.inc(this.read(event));
        break;
      case 'bypass':
        metrics.bypassed.inc({ cache, view_name: this.views.label(event.view), reason: event.reason });
        break;
      case 'computed': {
        const labels = { cache, view_name: this.views.label(event.view) };
        metrics.computations.inc(labels);
        metrics.computeSeconds.inc(labels, event.durationMs / 1000);
        break;
      }
      case 'stored': {
        const labels = { cache, view_name: this.views.label(event.view) };
        metrics.stores.inc(labels);
        metrics.storedBytes.inc(labels, event.bytes);
        break;
      }
      case 'stale':
        metrics.stale.inc({ cache, view_name: this.views.label(event.view), reason: event.reason });
        break;
      case 'failed':
        metrics.failedComputations.inc({ cache, view_name: this.views.label(event.view) });
        break;
      case 'invalidated':
        metrics.invalidations.inc({ cache });
        break;
      case 'purged':
        metrics.purgedEntries.inc({ cache }, event.entries ?? 0);
        metrics.purgedLogRows.inc({ cache }, event.logRows ?? 0);
        break;
      case 'error':
        metrics.errors.inc({ cache, operation: event.operation });
        break;
      // These two are published once per view, for a log; counting them would count views.
      case 'unstorable':
      case 'untracked':
        break;
    }
  }

  private read({ cache, view, tenantId }: { cache: string; view: string; tenantId?: string }) {
    const labels: Partial<Record<ReadLabel, string>> = { cache, view_name: this.views.label(view) };
    if (this.tenantLabel && tenantId !== undefined) labels.tenant_id = this.tenants.label(tenantId);
    return labels;
  }
}

function define(factory: MetricFactory, tenantLabel: boolean) {
  const read: readonly ReadLabel[] = tenantLabel ? [...VIEW, 'tenant_id'] : VIEW;
  return {
    hits: factory.counter('hits_total', 'Reads answered from the cache, by the tier that had the value.', [
      ...read,
      'tier' as const,
    ]),
    misses: factory.counter('misses_total', 'Reads for which there was no valid entry.', read),
    joined: factory.counter(
      'joined_total',
      'Reads that were given the value of a computation already under way in this process.',
      read,
    ),
    // By view this would be ten series for each; what differs between views is computing, not asking.
    getDuration: factory.histogram(
      'get_duration_seconds',
      'Time to ask the cache, without computing what is missing.',
      ['cache', 'result', 'tier'],
      GET_BUCKETS,
    ),
    computations: factory.counter('computations_total', 'Values computed because they were missing.', VIEW),
    computeSeconds: factory.counter('compute_seconds_total', 'Time spent computing missing values.', VIEW),
    stores: factory.counter('stores_total', 'Values stored.', VIEW),
    storedBytes: factory.counter('stored_bytes_total', 'Bytes of the values stored, as JSON.', VIEW),
    bypassed: factory.counter('bypassed_total', 'Reads that went past the cache, by reason.', [...VIEW, 'reason']),
    stale: factory.counter('stale_total', 'Reads answered with a value that was not good any more, by reason.', [
      ...VIEW,
      'reason',
    ]),
    failedComputations: factory.counter(
      'failed_computations_total',
      'Computations that failed without their caller being told: in the background, or because an older value was served.',
      VIEW,
    ),
    invalidations: factory.counter(
      'invalidations_total',
      'Invalidations asked for through the library; those of triggers are part of the write and not seen here.',
      ['cache'],
    ),
    purgedEntries: factory.counter('purged_entries_total', 'Expired entries this process deleted.', ['cache']),
    purgedLogRows: factory.counter('purged_log_rows_total', 'Rows this process trimmed from the invalidation log.', [
      'cache',
    ]),
    errors: factory.counter('errors_total', 'Statements of the cache that failed; the callers computed instead.', [
      'cache',
      'operation',
    ]),
  };
}
