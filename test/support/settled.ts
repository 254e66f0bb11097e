import { type PostgresCacheOptions } from 'nestjs-result-cache';
import { openCache } from './caches.js';
import { type TestDatabase } from './database.js';

/**
 * Install the cache into a fresh database and wait until it accepts entries. Nothing fenced below the first snapshot of
 * an incarnation is kept, and fences reach down to the oldest transaction of the whole server: while another spec's
 * transaction from before the installation runs, every store is refused, rightly. A spec that counts hits waits for its end.
 */
export async function installSettled(
  database: TestDatabase,
  options: Partial<PostgresCacheOptions> = {},
): Promise<void> {
  const { cache } = await openCache(database, options, { name: 'settling', maxTtl: options.maxTtl, defaultTtl: 60 });
  while (!(await cache.set('settled', true)));
  await cache.delete('settled');
}
