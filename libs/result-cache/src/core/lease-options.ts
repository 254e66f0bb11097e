import { DEFAULT_LEASE_TTL } from './defaults.js';
import { ttlToMs, type Ttl } from './duration.js';
import { CacheConfigurationError, shown } from './errors.js';
import { checkKeys } from './option-keys.js';

/** How processes take turns in computing a value that is missing. Seconds as numbers, or text with a unit. */
export interface LeaseOptions {
  /**
   * How long a process has for computing the value before others no longer count on it: what a crashed one costs them.
   * Default 10 s. Longer than the computation takes, or several processes will compute.
   */
  ttl?: Ttl;
  /**
   * Longest a caller waits for other processes before it computes by itself; 0: not at all. Default: for the process that
   * computes, and for the one that takes over from it, each at most `ttl`.
   */
  wait?: Ttl;
}

/** The names of these options. */
export const LEASE_KEYS = ['ttl', 'wait'] as const;

/** The same in milliseconds. */
export interface LeaseTimes {
  readonly ttlMs: number;
  readonly waitMs: number;
}

/**
 * What a `lease` option asks for; `null` for none.
 * @throws CacheConfigurationError
 */
export function leaseTimes(lease: boolean | LeaseOptions, where: string): LeaseTimes | null {
  if (lease === false) return null;
  const options = lease === true ? {} : lease;
  if (typeof options !== 'object' || options === null)
    throw new CacheConfigurationError(
      `${where}: lease: ${shown(lease)} is unknown; write true, false, or { ttl: '10s' }`,
    );
  checkKeys(options, LEASE_KEYS, `${where}: lease`);
  const ttlMs = ttlToMs(options.ttl ?? DEFAULT_LEASE_TTL, `${where}: lease.ttl`);
  if (ttlMs < 1)
    throw new CacheConfigurationError(`${where}: lease.ttl: a lease of no time protects nothing; write lease: false`);
  return { ttlMs, waitMs: options.wait === undefined ? Infinity : ttlToMs(options.wait, `${where}: lease.wait`) };
}
