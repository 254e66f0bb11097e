import { PostgresCache, type Fence, type Fill } from 'nestjs-result-cache';
import pg from 'pg';
import { type Bench } from '../bench.js';
import { measure, type Contender } from '../rounds.js';
import { type Target } from '../targets.js';
import { valueOf } from '../values.js';

/** Values of a batch. */
export const ROWS = 100;

/** Storing computed values, a batch a statement, against the same rows by a plain INSERT into a table like it. */
export async function fills({ environment, report, rounds, ms }: Bench): Promise<Target[]> {
  const pool = new pg.Pool({ connectionString: environment.postgresUrl, max: 4 });
  await pool.query(`
    CREATE TABLE filled_from (id int PRIMARY KEY, tenant_id text);
    CREATE UNLOGGED TABLE plain_fills (
      cache_key text COLLATE "C" PRIMARY KEY, cache_value json NOT NULL, expires_at timestamptz NOT NULL, cached_at timestamptz NOT NULL);
    CREATE INDEX ON plain_fills (expires_at)`);
  const store = new PostgresCache({
    connection: pool,
    tableName: 'bench_fills',
    watch: [{ table: 'filled_from', domain: 'filled', tenantColumn: 'tenant_id' }],
  });
  await store.initialize();
  const json = JSON.stringify(valueOf(1_000, 1));
  const { fence } = (await store.exchange({ since: null, keys: [] }))!;
  const raw = 'raw INSERT … FROM unnest';
  const known = 'a fill, tags known';
  const byRow = 'a fill that names a row';
  const rates = await measure(
    [
      inBatches(raw, (keys) =>
        pool.query({
          name: 'raw_fill',
          text: `INSERT INTO plain_fills SELECT k, v, now() + interval '5 min', now() FROM unnest($1::text[], $2::json[]) AS u (k, v)
                 ON CONFLICT (cache_key) DO UPDATE SET cache_value = EXCLUDED.cache_value, expires_at = EXCLUDED.expires_at, cached_at = EXCLUDED.cached_at`,
          values: [keys, keys.map(() => json)],
        }),
      ),
      inBatches(known, (keys) => store.fill(keys.map((key) => fillOf(key, json, fence, { tags: ['filled'] })))),
      inBatches(byRow, (keys) =>
        store.fill(
          keys.map((key, id) =>
            fillOf(key, json, fence, { dependencies: { domains: [], free: [], rows: [['filled', { id }]] } }),
          ),
        ),
      ),
    ],
    rounds,
    ms,
  );
  report.rates(`fills, batches of ${ROWS} values of 1 kB`, rates);
  await store.close();
  await pool.end();
  const ratio = (name: string): number => rates.get(name)!.median / rates.get(raw)!.median;
  return [{ what: `fills, batched, relative to ${raw}`, goal: 0.7, measured: ratio(known), atLeast: true }];
}

/** Store batches of {@link ROWS} values one after the other, under keys that come again. */
export function inBatches(name: string, send: (keys: readonly string[]) => Promise<unknown>): Contender {
  let next = 0;
  const key = (): string => `fill:${String(next++ % 20_000).padStart(6, '0')}`;
  return {
    name,
    run: async (forMs) => {
      const started = performance.now();
      let rows = 0;
      while (performance.now() < started + forMs) {
        await send(Array.from({ length: ROWS }, key));
        rows += ROWS;
      }
      return (rows * 1_000) / (performance.now() - started);
    },
  };
}

/** A computed value that is to be stored. */
export function fillOf(key: string, json: string, fence: Fence, different: Partial<Fill>): Fill {
  return {
    key,
    json,
    types: null,
    fence,
    ttlMs: 300_000,
    tags: [],
    dependencies: { domains: [], free: [], rows: [] },
    tenantId: null,
    view: 'bench',
    computeMs: 1,
    ...different,
  };
}
