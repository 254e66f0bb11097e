import { type QueryRunner, type EntityManager } from 'typeorm';
import { CacheConfigurationError } from '../core/errors.js';
import { checkKeys } from '../core/option-keys.js';
import { type EntryOptions } from '../core/policy.js';
import { type CallOptions } from '../module/cache.service.js';

/** How one read of a {@link CachedEntityRepository} is cached. */
export interface EntityReadOptions extends Pick<EntryOptions, 'ttl' | 'freshness' | 'tags'>, CallOptions {
  /** Read past the cache, and store nothing. */
  skipCache?: boolean;
  /** What else the result depends on and the query does not show: the role that row-level security goes by, say. */
  key?: unknown;
  /** Read inside this transaction. While it is open nothing comes from the cache and nothing enters it. */
  within?: EntityManager | QueryRunner;
}

/** The names of all options. */
export const READ_KEYS = ['ttl', 'freshness', 'tags', 'tenant', 'skipCache', 'key', 'within'];

/** @throws CacheConfigurationError */
export function checkReadOptions(options: EntityReadOptions, where: string): void {
  if (typeof options !== 'object' || options === null)
    throw new CacheConfigurationError(`${where}: the options are no object; write { ttl: '5m' }`);
  checkKeys(options, READ_KEYS, where);
  if (options.skipCache !== undefined && typeof options.skipCache !== 'boolean')
    throw new CacheConfigurationError(`${where}: skipCache is neither true nor false; write skipCache: true`);
}

/** The manager of the transaction to read in. @throws CacheConfigurationError */
export function managerOf(within: EntityReadOptions['within']): EntityManager | undefined {
  if (within === undefined) return undefined;
  if ('getRepository' in within) return within;
  if ('manager' in within) return within.manager;
  throw new CacheConfigurationError(
    'within is neither an EntityManager nor a QueryRunner; hand on the manager of dataSource.transaction(async (manager) => …)',
  );
}
