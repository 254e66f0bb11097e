import { PostgresCache, ResultCache, type PostgresCacheOptions, type ResultCacheOptions } from 'nestjs-result-cache';
import { type TestDatabase } from './database.js';

/** A cache as a process of its own would have it, closed with {@link closeCaches}. */
export interface TestCache {
  store: PostgresCache;
  cache: ResultCache;
}

const opened: PostgresCache[] = [];

export async function openCache(
  database: TestDatabase,
  store: Partial<PostgresCacheOptions> = {},
  cache: Partial<ResultCacheOptions> = {},
): Promise<TestCache> {
  const postgres = new PostgresCache({ connection: database.url, ...store });
  opened.push(postgres);
  await postgres.initialize();
  // What is a hit must not depend on how busy the machine is.
  return { store: postgres, cache: new ResultCache({ store: postgres, timeout: Infinity, ...cache }) };
}

export async function closeCaches(): Promise<void> {
  await Promise.all(opened.splice(0).map((store) => store.close()));
}
