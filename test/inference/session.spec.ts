import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { closeCaches, openCache, type TestCache } from '../support/caches.js';
import { createDatabase, type TestDatabase } from '../support/database.js';

let database: TestDatabase;
let one: TestCache;
let client: pg.Client;
let computed = 0;

beforeAll(async () => {
  database = await createDatabase();
  await database.pool.query('CREATE SCHEMA a; CREATE SCHEMA b; CREATE TABLE a.t (x int); CREATE TABLE b.t (x int)');
  one = await openCache(database, {
    watch: [
      { table: 'a.t', domain: 'a' },
      { table: 'b.t', domain: 'b' },
    ],
  });
});

afterAll(async () => {
  await closeCaches();
  await database.drop();
});

beforeEach(async () => {
  computed = 0;
  await database.pool.query('DELETE FROM a.t; DELETE FROM b.t; INSERT INTO a.t VALUES (1); INSERT INTO b.t VALUES (2)');
  client = new pg.Client({ connectionString: database.url });
  await client.connect();
});

afterEach(() => client.end());

async function infer(key: string, compute: () => Promise<pg.QueryResult<{ x: number }>>): Promise<number> {
  const value = await one.cache.getOrSet(
    key,
    async () => {
      computed++;
      return (await compute()).rows[0]!.x;
    },
    { domains: 'infer' },
  );
  await one.cache.drain();
  return value;
}

describe('a session that changes around an observed statement', () => {
  it('is not asked what it was when the statement ran', async () => {
    const read = (): Promise<number> =>
      infer('path', async () => {
        await client.query('SET search_path = a');
        const found = client.query<{ x: number }>('SELECT x FROM t');
        await Promise.all([found, client.query('SET search_path = b')]);
        return found;
      });
    for (let times = 1; times <= 4; times++) {
      await read();
      expect(computed).toBe(times);
    }
    await database.pool.query('UPDATE a.t SET x = 9');
    expect(await read()).toBe(9);
  });

  it('does not keep values from being found when statements merely share a client', async () => {
    const read = (): Promise<number> =>
      infer('shared', async () => {
        const found = client.query<{ x: number }>('SELECT x FROM a.t');
        await Promise.all([found, client.query('SELECT x FROM b.t')]);
        return found;
      });
    for (let times = 0; times < 5; times++) await read();
    expect(computed).toBeLessThan(5);
    await database.pool.query('UPDATE a.t SET x = 9');
    expect(await read()).toBe(9);
  });
});

describe('a session with another encoding', () => {
  it('has its statements read in other letters than were sent, so nothing of them is kept', async () => {
    await database.pool.query("CREATE TABLE letters (t text PRIMARY KEY, x int); INSERT INTO letters VALUES ('Ã©', 1)");
    const { cache } = await openCache(database, { watch: [{ table: 'letters', domain: 'letter' }] });
    await client.query("SET client_encoding = 'LATIN1'");
    const read = async (): Promise<number> => {
      const value = await cache.getOrSet(
        'letters',
        async () => (await client.query<{ x: number }>('SELECT x FROM letters WHERE t = $1', ['é'])).rows[0]!.x,
        { domains: 'infer' },
      );
      await cache.drain();
      return value;
    };
    for (let times = 0; times < 3; times++) expect(await read()).toBe(1);
    await database.pool.query('UPDATE letters SET x = 9');
    expect(await read()).toBe(9);
  });
});

describe('a transaction that was open before', () => {
  it('is not taken for the computation’s own because of another BEGIN', async () => {
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
    await client.query('SELECT x FROM a.t');
    await database.pool.query('UPDATE a.t SET x = 9');
    const read = (): Promise<number> =>
      infer('begun', async () => {
        await client.query('BEGIN');
        return client.query<{ x: number }>('SELECT x FROM a.t');
      });
    for (let times = 0; times < 3; times++) expect(await read()).toBe(1);
    await client.query('COMMIT');
    expect(await read()).toBe(9);
  });

  it('does not lend its snapshot to a value that is kept', async () => {
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
    const { rows } = await client.query<{ id: string }>('SELECT pg_export_snapshot() AS id');
    await database.pool.query('UPDATE a.t SET x = 9');
    const other = new pg.Client({ connectionString: database.url });
    await other.connect();
    const read = (isOld: boolean): Promise<number> =>
      infer('lent', async () => {
        await other.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
        if (isOld) await other.query(`SET TRANSACTION SNAPSHOT '${rows[0]!.id}'`);
        const found = await other.query<{ x: number }>('SELECT x FROM a.t');
        await other.query('COMMIT');
        return found;
      });
    for (let times = 0; times < 3; times++) expect(await read(true)).toBe(1);
    expect(await read(false)).toBe(9);
    await other.end();
  });
});
