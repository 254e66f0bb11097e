import { CacheConfigurationError } from '../core/errors.js';

/** What must not differ between two caches on one table. */
export interface TableSettings {
  /** Seconds. */
  maxTtl: number;
  partitions: number;
}

const claims = new Map<string, { settings: string; holders: number }>();

/**
 * Hold a table for a cache of this process, or share it with one that has the same settings. Returns how to let go.
 * @throws CacheConfigurationError
 */
export function claimTable(database: string, table: string, settings: TableSettings): () => void {
  const key = `${database} ${table}`;
  const text = JSON.stringify(settings);
  const claim = claims.get(key) ?? { settings: text, holders: 0 };
  if (claim.settings !== text)
    throw new CacheConfigurationError(
      `two caches on the table ${table} have different settings (${claim.settings} and ${text}); give them the same, or one of them another tableName`,
    );
  claim.holders++;
  claims.set(key, claim);
  let held = true;
  return () => {
    if (held && --claim.holders === 0) claims.delete(key);
    held = false;
  };
}
