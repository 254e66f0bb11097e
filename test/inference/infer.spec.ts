import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { CacheConfigurationError, EVENT_CHANNEL, type CacheEvent, type EntryOptions } from 'nestjs-result-cache';
import { AsyncLocalStorage } from 'node:async_hooks';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import pg from 'pg';
import { DataSource } from 'typeorm';
import { closeCaches, openCache, type TestCache } from '../support/caches.js';
import { createDatabase, type TestDatabase } from '../support/database.js';

let database: TestDatabase;
let other: TestDatabase;
let one: TestCache;
let dataSource: DataSource;
let key = '';
/** As somebody else would do it. */
const outside = AsyncLocalStorage.snapshot();
let warnings: string[] = [];
const listen = (event: unknown): void => {
  const { type, ...rest } = event as CacheEvent;
  if (type === 'untracked' && 'message' in rest) warnings.push(rest.message);
};

beforeAll(async () => {
  database = await createDatabase();
  other = await createDatabase();
  for (const { pool } of [database, other])
    await pool.query(
      'CREATE TABLE a (id int PRIMARY KEY, v int); CREATE TABLE b (v int); CREATE TABLE unwatched (v int)',
    );
  await database.pool.query(`CREATE VIEW v_sum AS SELECT (SELECT sum(v) FROM a) + (SELECT sum(v) FROM b) AS v;
    CREATE SCHEMA s; CREATE TABLE s.a (id int, v int); INSERT INTO s.a VALUES (1, 100)`);
  one = await openCache(database, {
    watch: ['a', 'b', 's.a'].map((table) => ({ table, domain: table })),
  });
  dataSource = await new DataSource({ type: 'postgres', url: database.url }).initialize();
  subscribe(EVENT_CHANNEL, listen);
});

afterAll(async () => {
  unsubscribe(EVENT_CHANNEL, listen);
  await dataSource.destroy();
  await closeCaches();
  await database.drop();
  await other.drop();
});

beforeEach(async () => {
  key = `k${Math.random()}`;
  warnings = [];
  for (const { pool } of [database, other])
    await pool.query('DELETE FROM a; INSERT INTO a VALUES (1, 0), (2, 0); DELETE FROM b; INSERT INTO b VALUES (0)');
});

type Row = { v: number };
const sql = 'SELECT v FROM a WHERE id = $1';
const plain = async (id = 1): Promise<number> => (await database.pool.query<Row>(sql, [id])).rows[0]!.v;

/** How often `compute` ran of two reads with a pause for storing between them: 1 if it was cached. */
async function computations(
  compute: () => Promise<unknown>,
  options: EntryOptions = { domains: 'infer' },
): Promise<number> {
  let computed = 0;
  for (let read = 0; read < 2; read++) {
    await one.cache.getOrSet(key, async () => (computed++, compute()), { view: key, ...options });
    await one.cache.drain();
  }
  return computed;
}

/** The first computation after a change of definitions knows only when it has ended that there was one, and is not kept. */
async function noticeDefinitions(): Promise<void> {
  await one.store.inferences.version();
}

/** The values of reads before and after a write, the first cached. */
async function around(
  compute: () => Promise<unknown>,
  write: string,
  options: EntryOptions = { domains: 'infer' },
): Promise<unknown[]> {
  expect(await computations(compute, options)).toBe(1);
  const read = (): Promise<unknown> => one.cache.getOrSet(key, compute, options);
  const before = await read();
  await database.pool.query(write);
  return [before, await read()];
}

describe('a computation whose dependencies are inferred', () => {
  it.each<[string, () => Promise<unknown>]>([
    ['a pool', () => plain()],
    [
      'a pool, by callback',
      () =>
        new Promise((resolve, reject) =>
          database.pool.query(sql, [1], (error, result) =>
            error ? reject(error) : resolve((result.rows[0] as Row).v),
          ),
        ),
    ],
    [
      'a pool, by a configuration object',
      async () => (await database.pool.query<Row>({ text: sql, values: [1], name: 'named' })).rows[0]!.v,
    ],
    [
      'a client of a pool',
      async () => {
        const client = await database.pool.connect();
        try {
          return (await client.query<Row>(sql, [1])).rows[0]!.v;
        } finally {
          client.release();
        }
      },
    ],
    [
      'a client of a pool, by callbacks',
      () =>
        new Promise((resolve, reject) =>
          database.pool.connect((error, client, release) => {
            if (error || !client) return reject(new Error('no client'));
            client.query('SELECT 1', () =>
              client.query<Row>(sql, [1], (failure, result) => {
                release();
                if (failure) reject(failure);
                else resolve(result.rows[0]!.v);
              }),
            );
          }),
        ),
    ],
    ['TypeORM', async () => (await dataSource.query<Row[]>(sql, [1]))[0]!.v],
    [
      'TypeORM, in a transaction of its own',
      () => dataSource.transaction(async (manager) => (await manager.query<Row[]>(sql, [1]))[0]!.v),
    ],
    ['several statements at once', async () => (await Promise.all([plain(2), plain(1), plain(2)]))[1]],
  ])('depends on what it reads by %s', async (_, compute) => {
    expect(await around(compute, 'UPDATE a SET v = 1 WHERE id = 1')).toEqual([0, 1]);
  });

  it('depends on every table behind a view', async () => {
    const compute = async (): Promise<number> =>
      Number((await database.pool.query<Row>('SELECT v FROM v_sum')).rows[0]!.v);
    expect(await around(compute, 'UPDATE a SET v = 1 WHERE id = 1')).toEqual([0, 1]);
    await database.pool.query('UPDATE b SET v = 1');
    expect(await one.cache.getOrSet(key, compute, { domains: 'infer' })).toBe(2);
  });

  it('does not depend on other tables', async () => {
    expect(await computations(() => plain())).toBe(1);
    await database.pool.query('UPDATE b SET v = 1');
    expect(await computations(() => Promise.reject(new Error('computed again')))).toBe(0);
  });

  it('depends on tags and rows that are declared beside, too', async () => {
    const options: EntryOptions = { domains: 'infer', tags: ['t'] };
    expect(await computations(() => plain(), options)).toBe(1);
    await one.cache.invalidate({ free: ['t'] });
    expect(await computations(() => plain(), options)).toBe(1);
  });

  it('takes no connection while the computation may hold the only one', async () => {
    const pool = new pg.Pool({ connectionString: database.url, max: 1 });
    const own = await openCache(database, { connection: pool });
    let client: pg.PoolClient | undefined;
    const outer = (): Promise<number> =>
      own.cache.getOrSet(
        key,
        async () => {
          client = await pool.connect();
          const compute = async (): Promise<number> => (await client!.query<Row>(sql, [1])).rows[0]!.v;
          // Past the cache, which could not be asked.
          const value = await own.cache.computeUncached(compute, own.cache.policy({ domains: 'infer' }));
          client.release();
          return value;
        },
        { domains: 'infer' },
      );
    expect(await outer()).toBe(0);
    await own.cache.drain();
    await database.pool.query('UPDATE a SET v = 1 WHERE id = 1');
    expect(await outer()).toBe(1);
    await own.cache.drain();
    own.cache.stop();
    await own.store.close();
    await pool.end();
  });

  it('knows its statements also where it has waited for a connection that somebody else gave back', async () => {
    const pool = new pg.Pool({ connectionString: database.url, max: 1 });
    const compute = async (): Promise<number> => {
      const client = await outside(() => pool.connect());
      const reading = pool.query<Row>(sql, [1]);
      outside(() => client.release());
      return (await reading).rows[0]!.v;
    };
    expect(await around(compute, 'UPDATE a SET v = 1 WHERE id = 1')).toEqual([0, 1]);
    await pool.end();
  });

  it('hands what it reads to the value around it', async () => {
    const inner = (): Promise<number> => one.cache.getOrSet(`${key} inner`, plain, { domains: 'infer' });
    expect(await around(inner, 'UPDATE a SET v = 1 WHERE id = 1', { tags: ['t'] })).toEqual([0, 1]);
  });

  it('hands what it reads to the value around it also where it is not cached itself', async () => {
    const policy = one.cache.policy({ domains: 'infer' });
    const outer = (): Promise<number> => one.cache.computeUncached(plain, policy);
    expect(await around(outer, 'UPDATE a SET v = 1 WHERE id = 1', { tags: ['t'] })).toEqual([0, 1]);
  });

  it('takes from a nested value what that declares, not what it reads', async () => {
    const inner = (): Promise<number> => one.cache.getOrSet(`${key} inner`, plain, { rows: [['a', { id: 1 }]] });
    const outer = async (): Promise<number> =>
      (await inner()) + (await database.pool.query<Row>('SELECT v FROM b')).rows[0]!.v;
    expect(await computations(outer)).toBe(1);
    await database.pool.query('UPDATE a SET v = 1 WHERE id = 2');
    expect(await computations(outer)).toBe(0);
    await database.pool.query('UPDATE a SET v = 1 WHERE id = 1');
    expect(await one.cache.getOrSet(key, outer, { domains: 'infer' })).toBe(1);
  });

  it('reads names as its own session does', async () => {
    const compute = async (): Promise<number> => {
      const client = await database.pool.connect();
      try {
        await client.query('SET search_path = s');
        return (await client.query<Row>(sql, [1])).rows[0]!.v;
      } finally {
        await client.query('RESET search_path');
        client.release();
      }
    };
    expect(await around(compute, 'UPDATE s.a SET v = 101')).toEqual([100, 101]);
  });

  it('finds its tables anew when a view was redefined', async () => {
    await database.pool.query('CREATE OR REPLACE VIEW changing AS SELECT v FROM a WHERE id = 1');
    const compute = async (): Promise<number> => (await database.pool.query<Row>('SELECT v FROM changing')).rows[0]!.v;
    await noticeDefinitions();
    expect(await computations(compute)).toBe(1);
    await database.pool.query('CREATE OR REPLACE VIEW changing AS SELECT v FROM b');
    key = `${key} later`;
    await noticeDefinitions();
    expect(await around(compute, 'UPDATE b SET v = 1')).toEqual([0, 1]);
  });

  it('is not kept where a definition changes under it', async () => {
    await database.pool.query('CREATE OR REPLACE VIEW moving AS SELECT v FROM a WHERE id = 1');
    await noticeDefinitions();
    let computed = 0;
    const compute = async (): Promise<number> => {
      const { rows } = await database.pool.query<Row>('SELECT v FROM moving');
      if (computed++ === 0)
        await outside(() => database.pool.query('CREATE OR REPLACE VIEW moving AS SELECT v FROM b'));
      return rows[0]!.v;
    };
    for (const expected of [1, 2, 2]) {
      await one.cache.getOrSet(key, compute, { domains: 'infer' });
      await one.cache.drain();
      expect(computed).toBe(expected);
    }
  });
});

describe('a computation is not cached, and a warning says why,', () => {
  it.each<[string, string, () => Promise<unknown>]>([
    ['it sends no statement', 'nothing was', async () => 1],
    ['no statement reads a table', 'nothing was', () => database.pool.query('SELECT 1')],
    [
      'a table is not watched',
      'watch: [{ table: "public.unwatched", domain: "unwatched" }]',
      () => database.pool.query('SELECT * FROM unwatched'),
    ],
    ['it writes', 'writes', async () => [await plain(), await database.pool.query('UPDATE b SET v = 2')]],
    [
      'it sends several statements as one',
      'PostgreSQL does not tell',
      () => database.pool.query('SELECT * FROM a; SELECT * FROM b'),
    ],
    [
      'it hides a statement behind a BEGIN',
      'transaction that was open before',
      async () => {
        const client = await database.pool.connect();
        await client.query('BEGIN; SELECT * FROM unwatched');
        await client.query('COMMIT');
        client.release();
        return plain();
      },
    ],
    [
      'it sends a query object',
      'query object',
      async () => {
        const value = await plain();
        await new Promise((resolve, reject) =>
          database.pool.connect((error, client, release) => {
            if (error || !client) return reject(new Error('no client'));
            client.query(new pg.Query('SELECT * FROM unwatched', [])).on('end', () => resolve(release()));
          }),
        );
        return value;
      },
    ],
    ['it reads another database', 'another database', () => other.pool.query('SELECT v FROM a')],
    [
      'its session has temporary tables',
      'temporary tables',
      async () => {
        const client = await database.pool.connect();
        await client.query('CREATE TEMPORARY TABLE a (v int)');
        await client.query('SELECT v FROM a');
        await client.query('DROP TABLE pg_temp.a');
        client.release();
        return 1;
      },
    ],
  ])('where %s', async (_, why, compute) => {
    expect(await computations(compute)).toBe(2);
    expect(warnings.join('\n')).toContain(why);
  });

  it('where it reads inside a transaction that was open before', async () => {
    const client = await database.pool.connect();
    await client.query('BEGIN');
    await client.query('UPDATE a SET v = 9');
    const computed = await computations(async () => (await client.query<Row>(sql, [1])).rows[0]!.v);
    await client.query('ROLLBACK');
    client.release();
    expect(computed).toBe(2);
    expect(warnings.join('\n')).toContain('transaction that was open before');
  });

  it('where a statement fails and the computation makes do', async () => {
    expect(
      await computations(async () => [await plain(), await database.pool.query('SELECT 1 / v FROM b').catch(() => 0)]),
    ).toBe(2);
  });

  it('where a statement was not waited for: it counts, be it slow', async () => {
    const compute = async (): Promise<number> => {
      void database.pool.query('SELECT * FROM unwatched');
      return plain();
    };
    expect(await computations(compute)).toBe(2);
    expect(warnings.join('\n')).toContain('unwatched');
  });

  it.each<[string, unknown]>([
    ["'infer' in a list", ['infer', 'a']],
    ['another text', 'a'],
  ])('or is refused at once: %s', async (_, domains) => {
    await expect(one.cache.getOrSet(key, async () => 1, { domains: domains as 'infer' })).rejects.toThrow(
      CacheConfigurationError,
    );
  });

  it('or refused by what computes nothing', async () => {
    await expect(one.cache.set(key, 1, { domains: 'infer' })).rejects.toThrow('use getOrSet');
  });
});
