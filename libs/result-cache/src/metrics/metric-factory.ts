import { Counter, Gauge, Histogram } from 'prom-client';
import { CacheConfigurationError } from '../core/index.js';
import { type PrometheusRegistry } from './metrics-options.js';

/** Registers metrics under one prefix, and remembers them so that all can be taken away again. */
export class MetricFactory {
  private readonly names: string[] = [];

  constructor(
    private readonly registry: PrometheusRegistry,
    private readonly prefix: string,
  ) {}

  /** `collect` runs on every scrape, before the values are read. */
  counter<L extends string>(
    name: string,
    help: string,
    labelNames: readonly L[],
    collect?: (counter: Counter<L>) => void,
  ): Counter<L> {
    return new Counter({
      ...this.common(name, help, labelNames),
      ...(collect && {
        collect(this: Counter<L>) {
          collect(this);
        },
      }),
    });
  }

  /** `collect` runs on every scrape, before the values are read. */
  gauge<L extends string>(
    name: string,
    help: string,
    labelNames: readonly L[],
    collect: (gauge: Gauge<L>) => void | Promise<void>,
  ): Gauge<L> {
    return new Gauge({
      ...this.common(name, help, labelNames),
      collect(this: Gauge<L>) {
        return collect(this);
      },
    });
  }

  histogram<L extends string>(
    name: string,
    help: string,
    labelNames: readonly L[],
    buckets: readonly number[],
  ): Histogram<L> {
    return new Histogram({ ...this.common(name, help, labelNames), buckets: [...buckets] });
  }

  /** Take everything that was made here off the registry. */
  removeAll(): void {
    for (const name of this.names.splice(0)) this.registry.removeSingleMetric(name);
  }

  private common<L extends string>(name: string, help: string, labelNames: readonly L[]) {
    const full = this.prefix + name;
    if (this.registry.getSingleMetric(full) !== undefined)
      throw new CacheConfigurationError(
        `cache metrics: the registry has a metric '${full}' of somebody else; give another registry, or another prefix: 'app_cache_'`,
      );
    this.names.push(full);
    return { name: full, help, labelNames: [...labelNames], registers: [this.registry] };
  }
}
