import { PostgresCache, type Fill } from 'nestjs-result-cache';
import pg from 'pg';
import { type Bench } from '../bench.js';
import { measure } from '../rounds.js';
import { type Target } from '../targets.js';
import { valueOf } from '../values.js';

const ROWS = 100;

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
  let next = 0;
  const keys = (): string[] => Array.from({ length: ROWS }, () => `fill:${String(next++ % 20_000).padStart(6, '0')}`);
  const { fence } = (await store.exchange({ since: null, keys: [] }))!;
  const fill = (key: string, rest: Partial<Fill>): Fill => ({
    key,
    json,
    types: null,
    fence,
    ttlMs: 300_000,
    tags: ['filled'],
    dependencies: { domains: [], free: [], rows: [] },
    tenantId: null,
    view: 'bench',
    computeMs: 1,
    ...rest,
  });
  const batches = (name: string, send: () => Promise<unknown>) => ({
    name,
    run: async (forMs: number) => {
      const started = performance.now();
      let rows = 0;
      while (performance.now() < started + forMs) {
        await send();
        rows += ROWS;
      }
      return (rows * 1_000) / (performance.now() - started);
    },
  });
  const raw = 'raw INSERT … FROM unnest';
  const known = 'a fill, tags known';
  const byRow = 'a fill that names a row';
  const rates = await measure(
    [
      batches(raw, () =>
        pool.query({
          name: 'raw_fill',
          text: `INSERT INTO plain_fills SELECT k, v, now() + interval '5 min', now() FROM unnest($1::text[], $2::json[]) AS u (k, v)
                 ON CONFLICT (cache_key) DO UPDATE SET cache_value = EXCLUDED.cache_value, expires_at = EXCLUDED.expires_at, cached_at = EXCLUDED.cached_at`,
          values: [keys(), Array.from({ length: ROWS }, () => json)],
        }),
      ),
      batches(known, () => store.fill(keys().map((key) => fill(key, {})))),
      batches(byRow, () =>
        store.fill(
          keys().map((key, id) =>
            fill(key, { tags: [], dependencies: { domains: [], free: [], rows: [['filled', { id }]] } }),
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
