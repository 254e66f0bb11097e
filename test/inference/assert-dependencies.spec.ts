import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { CacheConfigurationError, type EntryOptions } from 'nestjs-result-cache';
import { assertDependencies, UndeclaredDependencyError } from 'nestjs-result-cache/testing';
import { DataSource } from 'typeorm';
import { closeCaches, openCache, type TestCache } from '../support/caches.js';
import { createDatabase, type TestDatabase } from '../support/database.js';

let database: TestDatabase;
let one: TestCache;
let dataSource: DataSource;
let stop = (): void => undefined;
let key = '';

beforeAll(async () => {
  database = await createDatabase();
  await database.pool.query(`
    CREATE TABLE a (id int); CREATE TABLE b (id int); CREATE TABLE unwatched (v int);
    CREATE TABLE parts (id int) PARTITION BY RANGE (id); CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (9);
    CREATE VIEW both_tables AS SELECT a.id FROM a JOIN b USING (id);
    CREATE FUNCTION hidden() RETURNS bigint LANGUAGE plpgsql STABLE AS 'BEGIN RETURN (SELECT count(*) FROM b); END'`);
  one = await openCache(database, { watch: ['a', 'b', 'parts'].map((table) => ({ table, domain: table })) });
  dataSource = await new DataSource({ type: 'postgres', url: database.url }).initialize();
});

afterAll(async () => {
  await dataSource.destroy();
  await closeCaches();
  await database.drop();
});

beforeEach(() => {
  key = `k${Math.random()}`;
  stop = assertDependencies({ pools: [database.pool] }, { ignore: ['public.ignored'] });
});
afterEach(() => stop());

const get = async (sql: string, options: EntryOptions): Promise<unknown> =>
  one.cache.getOrSet(key, async () => (await database.pool.query(sql)).rows, { view: 'Reports.all', ...options });

describe('with assertDependencies', () => {
  it.each<[string, string, EntryOptions]>([
    ['all it reads is declared', 'SELECT * FROM both_tables', { domains: ['a', 'b'] }],
    ['more is declared than it reads', 'SELECT * FROM a', { domains: ['a', 'b'] }],
    ['rows are declared', 'SELECT * FROM a', { rows: [['a', { id: 1 }]] }],
    ['it infers', 'SELECT * FROM both_tables', { domains: 'infer' }],
    ['it accepts staleness', 'SELECT * FROM unwatched', { untracked: true }],
    ['it reads a partition of what is declared', 'SELECT * FROM parts_1', { domains: ['parts'] }],
  ])('a computation passes where %s', async (_, sql, options) => {
    await expect(get(sql, options)).resolves.toEqual([]);
  });

  it.each<[string, string, string]>([
    ['a view', 'SELECT * FROM both_tables', 'public.b'],
    ['a function that nobody can read', 'SELECT hidden()', 'public.b'],
    ['a plan that leaves it out', 'SELECT * FROM a WHERE EXISTS (SELECT FROM b WHERE false)', 'public.b'],
    ['a root of partitions', 'SELECT * FROM parts', 'public.parts'],
  ])('a computation fails where it reads more than it declares: behind %s', async (_, sql, table) => {
    const error: unknown = await get(sql, { domains: ['a'] }).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(UndeclaredDependencyError);
    expect((error as Error).message).toMatch(/^Reports\.all read /);
    expect((error as Error).message).toContain(`${table}, which feeds the domain '${table.slice(7)}'`);
    expect((error as Error).message).toContain(`write domains: ['a', '${table.slice(7)}']`);
  });

  it('a computation fails where it reads what is not watched', async () => {
    await expect(get('SELECT * FROM unwatched', { domains: ['a'] })).rejects.toThrow(
      "add { table: 'public.unwatched', domain: 'unwatched' } to watch",
    );
  });

  it('statements count in a transaction that the computation opens, through TypeORM too', async () => {
    const compute = (): Promise<unknown> =>
      dataSource.transaction(async (manager) => [
        await manager.query('SELECT 1'),
        await manager.query('SELECT * FROM b'),
      ]);
    await expect(one.cache.getOrSet(key, compute, { domains: ['a'] })).rejects.toThrow('public.b');
  });

  it('what a nested value declares need not be declared again', async () => {
    const inner = async (): Promise<unknown> => (await database.pool.query('SELECT * FROM b')).rows;
    const outer = (): Promise<unknown> => one.cache.getOrSet(`${key} inner`, inner, { domains: ['b'] });
    await expect(one.cache.getOrSet(key, outer, { domains: ['a'] })).resolves.toEqual([]);
  });

  it('many statements at once on one client do not mix', async () => {
    const compute = async (): Promise<unknown[]> => {
      const client = await database.pool.connect();
      const all = await Promise.all([
        client.query('SELECT 1 AS n'),
        client.query('SELECT 2 AS n'),
        client.query('SELECT id FROM a'),
      ]);
      client.release();
      return all.map(({ rows }) => rows);
    };
    expect(await one.cache.getOrSet(key, compute, { domains: ['a'] })).toEqual([[{ n: 1 }], [{ n: 2 }], []]);
  });

  it('nothing fails once it is stopped, and it cannot be on twice', async () => {
    expect(() => assertDependencies({ pools: [] })).toThrow(CacheConfigurationError);
    stop();
    await expect(get('SELECT * FROM both_tables', { domains: ['a'] })).resolves.toEqual([]);
    expect(() => assertDependencies({} as never)).toThrow(CacheConfigurationError);
  });
});
