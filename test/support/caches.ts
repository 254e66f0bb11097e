import {
  PostgresCache,
  ResultCache,
  type CacheStore,
  type PostgresCacheOptions,
  type ResultCacheOptions,
} from 'nestjs-result-cache';
import { type TestDatabase } from './database.js';

/** A cache as a process of its own would have it, closed with {@link closeCaches}. */
export interface TestCache {
  store: PostgresCache;
  cache: ResultCache;
}

const opened: PostgresCache[] = [];
const engines: ResultCache[] = [];

export async function openCache(
  database: TestDatabase,
  store: Partial<PostgresCacheOptions> = {},
  cache: Partial<ResultCacheOptions> = {},
): Promise<TestCache> {
  const postgres = new PostgresCache({ connection: database.url, ...store });
  opened.push(postgres);
  await postgres.initialize();
  await settle(postgres);
  // What is a hit must not depend on how busy the machine is.
  const engine = new ResultCache({ store: postgres, timeout: Infinity, ...cache });
  engines.push(engine);
  return { store: postgres, cache: engine };
}

/** The same, told of all touches from now on: it has asked. */
export async function openToldCache(...options: Parameters<typeof openCache>): Promise<TestCache> {
  const opened = await openCache(...options);
  await opened.cache.get('nothing');
  return opened;
}

/**
 * Wait until a store accepts entries. A new incarnation accepts none whose fence reaches below its first snapshot, and
 * fences reach down to the oldest transaction of the whole server: another spec's CREATE DATABASE, say.
 */
export async function settle(store: CacheStore): Promise<void> {
  for (;;) {
    const answer = await store.exchange({ since: null, keys: [] });
    if (answer !== null && answer.fence.lo >= answer.horizon) return;
  }
}

export async function closeCaches(): Promise<void> {
  for (const engine of engines.splice(0)) engine.stop();
  await Promise.all(opened.splice(0).map((store) => store.close()));
}
