import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type pg from 'pg';
import { closeCaches, openCache } from './support/caches.js';
import { createDatabase, type TestDatabase } from './support/database.js';
import { plansOf, rowsRead } from './support/plans.js';

/** Enough executions for the server to settle on a plan it keeps. */
const EXECUTIONS = 8;
const TAGS = `'{user,user.id=1,"user.id=*",post}'`;

let database: TestDatabase;
let client: pg.PoolClient;

beforeAll(async () => {
  database = await createDatabase();
  await openCache(database);
  client = await database.pool.connect();
});

afterAll(async () => {
  client.release();
  await closeCaches();
  await database.drop();
});

interface Situation {
  name: string;
  /** What the log holds, as SQL. */
  fill: string;
  lo: number;
  hi: number;
  open: number[];
  /** Most rows of the log that one statement may look at. */
  most: number;
}

const open = Array.from({ length: 300 }, (_, index) => 100_000 + index * 7);

const situations: Situation[] = [
  { name: 'an empty log', fill: '', lo: 1_000, hi: 1_000, open: [], most: 0 },
  {
    name: '100,000 rows since the fence',
    fill: `SELECT 't' || i % 5000, 200000 + i FROM generate_series(1, 100000) i`,
    lo: 200_000,
    hi: 200_000,
    open: [],
    most: 1_001,
  },
  {
    name: '100,000 rows visible between lo and hi, behind a long-running writer',
    fill: `SELECT 't' || i % 5000, 100000 + i FROM generate_series(1, 100000) i`,
    lo: 100_000,
    hi: 300_000,
    open: [100_000],
    most: 10,
  },
  {
    name: '300 open transactions',
    fill: `SELECT 't' || i % 5000, 100000 + i * 7 + 1 FROM generate_series(1, 100000) i`,
    lo: 100_000,
    hi: 1_000_000,
    open,
    most: 600,
  },
];

describe.each(situations)('with $name', ({ fill, lo, hi, open: running, most }) => {
  beforeAll(async () => {
    await client.query('DELETE FROM fraiseql_cache.log');
    // Planned, and kept, while the log was empty: the trap.
    for (let i = 0; i < EXECUTIONS; i++) await header();
    if (fill !== '') await client.query(`INSERT INTO fraiseql_cache.log (tag, xid) ${fill}`);
  });

  const header = (): Promise<pg.QueryResult<{ header: string }>> =>
    client.query(`SELECT fraiseql_cache.header('${lo}:${hi}:${running.join(',')}', 1001) AS header`);
  const untouched = (): Promise<unknown> =>
    client.query(`SELECT fraiseql_cache.untouched(${TAGS}, ${lo}, ${hi}, '{${running.slice(0, 32).join(',')}}')`);

  it('the header probes the indexes and stops at 1,001 rows', async () => {
    const nodes = await plansOf(client, header);
    const onLog = nodes.filter((node) => node['Relation Name'] === 'log');
    expect(onLog.length).toBeGreaterThan(0);
    for (const node of onLog) expect(node['Node Type']).toMatch(/^Index (Only )?Scan$/);
    expect(onLog.reduce((sum, node) => sum + rowsRead(node), 0)).toBeLessThanOrEqual(most);
  });

  it('validity in SQL is a few probes per tag', async () => {
    const nodes = await plansOf(client, untouched);
    const onLog = nodes.filter((node) => node['Relation Name'] === 'log');
    expect(onLog.length).toBeGreaterThan(0);
    for (const node of onLog) expect(node['Node Type']).toMatch(/^Index (Only )?Scan$/);
    expect(onLog.reduce((sum, node) => sum + rowsRead(node), 0)).toBeLessThanOrEqual(8);
  });

  it('lists at most 1,001 touches, which a reader takes for everything', async () => {
    const { rows } = await header();
    expect(rows[0]!.header.split('\n').length - 1).toBeLessThanOrEqual(most === 0 ? 0 : 1_001);
  });
});

it('a batch of rows is read through the primary key', async () => {
  await client.query(`INSERT INTO fraiseql_cache.fraiseql_cache (cache_key, cache_value, expires_at, tags, lo, hi, open, incarnation, proof, cached_at, value_bytes)
    SELECT 'k' || i, '1', now() + interval '1 h', '{}', 1, 1, '{}', gen_random_uuid(), '[]', now(), 1 FROM generate_series(1, 20000) i`);
  const nodes = await plansOf(client, async () => {
    await client.query(
      'PREPARE e(text[]) AS SELECT c.cache_key FROM fraiseql_cache.fraiseql_cache c WHERE c.cache_key = ANY ($1) AND c.expires_at > now()',
    );
    for (let i = 0; i < EXECUTIONS; i++) await client.query(`EXECUTE e('{k1,k77,k1234,none}')`);
  });
  const onTable = nodes.filter((node) => node['Relation Name'] === 'fraiseql_cache');
  expect(onTable.length).toBe(EXECUTIONS);
  for (const node of onTable) {
    expect(node['Node Type']).toMatch(/^(Index Scan|Bitmap Heap Scan)$/);
    expect(rowsRead(node)).toBeLessThanOrEqual(4);
  }
});
