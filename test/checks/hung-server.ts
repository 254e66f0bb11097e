import { type EmbeddedServer } from '@workspace/embedded-server';
import pg from 'pg';
import { PostgresCache, ResultCache } from 'nestjs-result-cache';
import { now } from './history.js';
import { pause } from './registers.js';

/** Milliseconds a read waits for the cache's database: the default. */
const TIMEOUT_MS = 250;
const POOL_SIZE = 4;
const COMPUTE_MS = 10;
const CALLERS = 50;
const KEYS = 200;
/** What a busy machine may add to a timer that waits for milliseconds. */
const SLACK_MS = 150;
const MOST_MS_TO_RECOVER = 5_000;

interface Calls {
  failed: number;
  latencies: number[];
}

/** How cached calls fared beside bare ones while the database was stopped. */
export interface HungReport {
  calls: number;
  /** Milliseconds added to the slowest call, over all the time and from a second after the stop on. */
  added: { slowest: number; onceOpen: number };
  /** Milliseconds from the server's return to the first hit; `null`: too late. */
  recovered: number | null;
  mostConnections: number;
  wrong: string[];
}

/** Cached and bare calls of the same method side by side, the server stopped for `hangMs` in between. */
export async function surviveHang(server: EmbeddedServer, hangMs: number): Promise<HungReport> {
  const url = server.url();
  const store = new PostgresCache({ connection: url, poolSize: POOL_SIZE });
  const cache = new ResultCache({ store, timeout: TIMEOUT_MS });
  const watcher = new pg.Pool({ connectionString: url, max: 1, application_name: 'watcher' });
  watcher.on('error', () => undefined);
  await store.initialize();
  const method = async (): Promise<number> => (await pause(COMPUTE_MS), 1);
  let stopped = false;
  let phase: 'before' | 'opening' | 'open' | 'after' = 'before';
  const calls = { cached: byPhase(), bare: byPhase() };
  const run = async (what: 'cached' | 'bare', call: () => Promise<unknown>): Promise<void> => {
    while (!stopped) {
      const into = calls[what][phase];
      const began = now();
      await call().catch(() => into.failed++);
      into.latencies.push(now() - began);
    }
  };
  let n = 0;
  // A few are hits, most expire at once: there is always something to compute and to store.
  const read = (): Promise<unknown> => cache.getOrSet(`k${++n % KEYS}`, method, { untracked: true, ttl: '20ms' });
  let mostConnections = 0;
  const connections = async (): Promise<void> => {
    const { rows } = await watcher.query<{ count: number }>(
      `SELECT count(*)::int FROM pg_stat_activity WHERE application_name = 'nestjs-result-cache'`,
    );
    mostConnections = Math.max(mostConnections, rows[0]!.count);
  };
  const callers = Array.from({ length: CALLERS }, () => [run('cached', read), run('bare', method)]).flat();
  try {
    for (let look = 0; look < 20; look++) await Promise.all([connections(), pause(50)]);
    await server.hang();
    phase = 'opening';
    await pause(1_500);
    phase = 'open';
    await pause(hangMs - 1_500);
    await server.resume();
    const back = now();
    phase = 'after';
    let recovered: number | null = null;
    while (recovered === null && now() - back < MOST_MS_TO_RECOVER) {
      await cache.getOrSet('probe', async () => 1, { untracked: true });
      await cache.drain();
      if (await cache.exists('probe').catch(() => false)) recovered = now() - back;
      else await pause(20);
    }
    // Connections that were given up are gone as soon as the server has looked at them.
    await pause(200);
    for (let look = 0; look < 20; look++) await Promise.all([connections(), pause(50)]);
    stopped = true;
    await Promise.all(callers);
    return judge(calls, recovered, mostConnections);
  } finally {
    stopped = true;
    await server.resume();
    cache.stop();
    await store.close();
    await watcher.end();
  }
}

function byPhase(): Record<'before' | 'opening' | 'open' | 'after', Calls> {
  const none = (): Calls => ({ failed: 0, latencies: [] });
  return { before: none(), opening: none(), open: none(), after: none() };
}

function judge(
  { cached, bare }: Record<'cached' | 'bare', ReturnType<typeof byPhase>>,
  recovered: number | null,
  mostConnections: number,
): HungReport {
  const all = (of: ReturnType<typeof byPhase>): number[] => Object.values(of).flatMap(({ latencies }) => latencies);
  const slowest = longest(all(cached)) - longest(all(bare));
  const onceOpen = longest(cached.open.latencies) - longest(bare.open.latencies);
  const failed = Object.values(cached).reduce((sum, phase) => sum + phase.failed, 0);
  const wrong = [
    ...(failed > 0 ? [`${failed} cached calls failed, and no bare one can`] : []),
    ...(slowest > TIMEOUT_MS + SLACK_MS
      ? [`a cached call took ${Math.round(slowest)} ms longer than any bare one`]
      : []),
    ...(onceOpen > SLACK_MS ? [`with the breaker open one took ${Math.round(onceOpen)} ms longer`] : []),
    ...(recovered === null ? [`no hits again after ${MOST_MS_TO_RECOVER} ms`] : []),
    ...(mostConnections > POOL_SIZE ? [`${mostConnections} connections from a pool of ${POOL_SIZE}`] : []),
  ];
  return { calls: all(cached).length, added: { slowest, onceOpen }, recovered, mostConnections, wrong };
}

/** Of too many to be arguments. */
function longest(latencies: readonly number[]): number {
  return latencies.reduce((most, latency) => Math.max(most, latency), 0);
}
