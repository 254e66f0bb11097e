import { type OpenMetricsContentType, type Registry } from 'prom-client';
import { CacheConfigurationError, type ResultCache } from '../core/index.js';

/** A registry of `prom-client`, in either of its two text formats. */
export type PrometheusRegistry = Registry | Registry<OpenMetricsContentType>;

/** What is exported to Prometheus, and under which names. */
export interface PrometheusCacheMetricsOptions {
  /** Where the metrics are registered. Default `prom-client`'s global `register`. */
  registry?: PrometheusRegistry;
  /** What the names begin with. Default `'fraiseql_cache_'`. */
  prefix?: string;
  /**
   * Add `tenant_id` to hits, misses and joined reads. Default `false`: each tenant multiplies the number of time series,
   * and whoever may read the metrics then learns who the tenants are.
   */
  tenantLabel?: boolean;
  /** Different `view_name` values (and `tenant_id` values) before the rest becomes `other`. Default 1,000. */
  maxLabelValues?: number;
  /** Caches whose size is read on a scrape. Hits and misses are counted for every cache of the process anyway. */
  caches?: Iterable<ResultCache> | (() => Iterable<ResultCache>);
  /** Seconds for which a scrape uses the sizes of an earlier one; counting rows is not free. Default 5. */
  maxAge?: number;
  /** Seconds a scrape waits for the database before it answers without sizes. Default 1. */
  timeout?: number;
}

export const METRICS_KEYS: readonly (keyof PrometheusCacheMetricsOptions)[] = [
  'registry',
  'prefix',
  'tenantLabel',
  'maxLabelValues',
  'caches',
  'maxAge',
  'timeout',
];

/** @throws CacheConfigurationError for what is unknown or out of range. */
export function checkMetricsOptions(options: PrometheusCacheMetricsOptions): void {
  const unknown = Object.keys(options).find((key) => !(METRICS_KEYS as readonly string[]).includes(key));
  if (unknown !== undefined)
    throw new CacheConfigurationError(
      `cache metrics: there is no option '${unknown}'; there are ${METRICS_KEYS.join(', ')}`,
    );
  const { registry, prefix, maxLabelValues, maxAge, timeout } = options;
  if (registry !== undefined && typeof (registry as Partial<Registry>).registerMetric !== 'function')
    throw new CacheConfigurationError(
      "cache metrics: registry is not a prom-client registry; write registry: new Registry(), with Registry from 'prom-client'",
    );
  if (prefix !== undefined && !/^[a-zA-Z_:][\w:]*$/.test(prefix))
    throw new CacheConfigurationError(
      `cache metrics: prefix ${JSON.stringify(prefix)} cannot begin a metric's name; write letters, digits and underscores: 'fraiseql_cache_'`,
    );
  if (maxLabelValues !== undefined && !(Number.isInteger(maxLabelValues) && maxLabelValues >= 0))
    throw new CacheConfigurationError(
      `cache metrics: maxLabelValues ${String(maxLabelValues)} is not a whole number from 0; write 1000`,
    );
  if (maxAge !== undefined && !(maxAge >= 0 && maxAge < Infinity))
    throw new CacheConfigurationError(
      `cache metrics: maxAge ${String(maxAge)} is not a number of seconds; write maxAge: 5`,
    );
  if (timeout !== undefined && !(timeout > 0 && timeout <= 60))
    throw new CacheConfigurationError(
      `cache metrics: timeout ${String(timeout)} is not a number of seconds over 0 and up to 60; write timeout: 1`,
    );
}
