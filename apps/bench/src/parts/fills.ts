import { PostgresCache, type Fence, type Fill } from 'nestjs-result-cache';
import pg from 'pg';
import { type Bench } from '../bench.js';
import { measure, type Contender } from '../rounds.js';
import { type Target } from '../targets.js';
import { valueOf } from '../values.js';

/** Values of a batch. */
export const ROWS = 100;

const COLUMNS = `cache_key, cache_value, value_types, expires_at, tags, lo, hi, open, incarnation, proof, cached_at, tenant_id, view_name, compute_ms, value_bytes`;
const REPLACE = COLUMNS.split(', ')
  .slice(1)
  .map((column) => `${column} = EXCLUDED.${column}`)
  .join(', ');

/** The same rows as the cache writes, made in the application and stored as they are. */
const SAME_ROWS = `
  INSERT INTO same_rows (${COLUMNS})
  SELECT k, v, ty, now() + interval '5 min', tg::text[], lo, hi, op::bigint[], i, p, now(), tn, vw, cm, b
    FROM unnest($1::text[], $2::json[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::text[], $8::uuid[], $9::text[], $10::text[],
                $11::text[], $12::real[], $13::int[]) AS u (k, v, ty, tg, lo, hi, op, i, p, tn, vw, cm, b)
  ON CONFLICT (cache_key) DO UPDATE SET ${REPLACE}`;

/** Storing computed values, a batch a statement, against the same rows by a plain INSERT into a table like it. */
export async function fills({ environment, report, rounds, ms }: Bench): Promise<Target[]> {
  const pool = new pg.Pool({ connectionString: environment.postgresUrl, max: 4 });
  await pool.query('CREATE TABLE filled_from (id int PRIMARY KEY, tenant_id text)');
  const store = new PostgresCache({
    connection: pool,
    tableName: 'bench_fills',
    watch: [{ table: 'filled_from', domain: 'filled', tenantColumn: 'tenant_id' }],
  });
  await store.initialize();
  await pool.query(`
    CREATE UNLOGGED TABLE same_rows (LIKE fraiseql_cache.bench_fills INCLUDING ALL);
    CREATE UNLOGGED TABLE plain_fills (
      cache_key text COLLATE "C" PRIMARY KEY, cache_value json NOT NULL, expires_at timestamptz NOT NULL, cached_at timestamptz NOT NULL);
    CREATE INDEX ON plain_fills (expires_at)`);
  const json = JSON.stringify(valueOf(1_000, 1));
  const { fence } = (await store.exchange({ since: null, keys: [] }))!;
  const { lo, hi, incarnation } = fence;
  const proof = JSON.stringify([lo, hi, [], incarnation, Date.now(), Date.now(), 1, ['filled']]);
  const raw = 'raw INSERT … FROM unnest of the same rows';
  const known = 'a fill, tags known';
  const byRow = 'a fill that names a row';
  const rates = await measure(
    [
      inBatches('raw INSERT … FROM unnest of key, value and times', (keys) =>
        pool.query({
          name: 'plain_fill',
          text: `INSERT INTO plain_fills SELECT k, v, now() + interval '5 min', now() FROM unnest($1::text[], $2::json[]) AS u (k, v)
                 ON CONFLICT (cache_key) DO UPDATE SET cache_value = EXCLUDED.cache_value, expires_at = EXCLUDED.expires_at, cached_at = EXCLUDED.cached_at`,
          values: [keys, keys.map(() => json)],
        }),
      ),
      inBatches(raw, (keys) => {
        const all = <T>(value: T): T[] => keys.map(() => value);
        const values = [
          keys,
          all(json),
          all(null),
          all('{"filled"}'),
          all(lo),
          all(hi),
          all('{}'),
          all(incarnation),
          all(proof),
          all(null),
          all('bench'),
          all(1),
          all(json.length),
        ];
        return pool.query({ name: 'same_rows', text: SAME_ROWS, values });
      }),
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
