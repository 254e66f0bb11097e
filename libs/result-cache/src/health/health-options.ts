import { CacheConfigurationError } from '../core/index.js';

/** What counts as trouble with the cache. */
export interface CacheHealthOptions {
  /** More expired entries than this: the purge does not keep up, or does not run. Default 10,000. */
  maxExpiredEntries?: number;
  /** A larger table, indexes included, is too large: bytes. Default 1,000,000,000. */
  maxTableSizeBytes?: number;
  /** Writes that take longer to cascade have too many rules: milliseconds. Known where the server measures functions (`track_functions = 'pl'`). Default 10. */
  maxCascadeMs?: number;
  /** A lower share of hits, from 0 to 1, is too low. Default 0.5. */
  minHitRate?: number;
  /** Reads of this process before its hit rate is judged. Default 100. */
  minReads?: number;
  /**
   * What it means when the cache cannot use its database. Default `'degraded'`: methods compute, so the application
   * works, and a restart would mend nothing. `'down'` takes the instance out of service.
   */
  whenUnavailable?: 'degraded' | 'down';
  /** Seconds for which the figures of an earlier check are used again; counting rows is not free. Default 5. */
  maxAge?: number;
  /** Seconds a check waits for the database. Default 1. */
  timeout?: number;
}

export type CheckedHealthOptions = Required<CacheHealthOptions>;

export const HEALTH_DEFAULTS: CheckedHealthOptions = {
  maxExpiredEntries: 10_000,
  maxTableSizeBytes: 1_000_000_000,
  maxCascadeMs: 10,
  minHitRate: 0.5,
  minReads: 100,
  whenUnavailable: 'degraded',
  maxAge: 5,
  timeout: 1,
};

/**
 * The options with defaults.
 * @throws CacheConfigurationError for what is unknown or out of range.
 */
export function checkHealthOptions(options: CacheHealthOptions = {}): CheckedHealthOptions {
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
  const unknown = Object.keys(given).find((key) => !Object.hasOwn(HEALTH_DEFAULTS, key));
  if (unknown !== undefined)
    throw new CacheConfigurationError(
      `cache health: there is no option '${unknown}'; there are ${Object.keys(HEALTH_DEFAULTS).join(', ')}`,
    );
  const checked: CheckedHealthOptions = { ...HEALTH_DEFAULTS, ...given };
  for (const option of ['maxExpiredEntries', 'maxTableSizeBytes', 'maxCascadeMs', 'minReads', 'maxAge'] as const)
    inRange(checked, option, 0, Number.MAX_SAFE_INTEGER);
  inRange(checked, 'minHitRate', 0, 1);
  inRange(checked, 'timeout', 0.001, 60);
  if (checked.whenUnavailable !== 'degraded' && checked.whenUnavailable !== 'down')
    throw new CacheConfigurationError(
      `cache health: whenUnavailable ${JSON.stringify(checked.whenUnavailable)} is unknown; write 'degraded' or 'down'`,
    );
  return checked;
}

function inRange(
  options: CheckedHealthOptions,
  option: Exclude<keyof CheckedHealthOptions, 'whenUnavailable'>,
  least: number,
  most: number,
): void {
  const value = options[option];
  if (typeof value !== 'number' || !(value >= least && value <= most))
    throw new CacheConfigurationError(
      `cache health: ${option} ${String(value)} is not a number from ${least} to ${most}; write ${option}: ${HEALTH_DEFAULTS[option]}`,
    );
}
