import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type DataSource } from 'typeorm';
import { createDatabase, type TestDatabase } from '../../../test/support/database.js';
import { openDatabase } from '../src/database/data-source.js';
import { ROWS, seed, type SeedProgress } from '../src/database/seed.js';

const databases = new Map<string, TestDatabase>();
const open: DataSource[] = [];

beforeAll(async () => {
  for (const name of ['schema', 'race', 'first', 'second', 'aborted']) databases.set(name, await createDatabase());
});
afterAll(async () => {
  for (const dataSource of open) await dataSource.destroy();
  for (const database of databases.values()) await database.drop();
});

async function connect(name: string): Promise<DataSource> {
  const dataSource = await openDatabase(databases.get(name)!.url);
  open.push(dataSource);
  return dataSource;
}

async function count(dataSource: DataSource, table: string): Promise<number> {
  const [{ rows }] = await dataSource.query<[{ rows: number }]>(`SELECT count(*)::int AS rows FROM ${table}`);
  return rows;
}

describe('schema', () => {
  it('is what the entities say, to the name of the last constraint', async () => {
    const dataSource = await connect('schema');
    const { upQueries } = await dataSource.driver.createSchemaBuilder().log();
    expect(upQueries.map(({ query }) => query)).toEqual([]);
  });

  it('can be taken back', async () => {
    const dataSource = await connect('schema');
    await dataSource.undoLastMigration();
    expect(await dataSource.query(`SELECT to_regclass('users') AS users`)).toEqual([{ users: null }]);
  });

  it('is made once by many processes, and seeded once', async () => {
    const results = await Promise.all(
      Array.from({ length: 8 }, async () => seed(await connect('race'), { scale: 0.002 })),
    );
    expect(results.filter(({ seeded }) => seeded)).toHaveLength(1);
    expect(await count(open.at(-1)!, 'users')).toBe(4);
  });
});

describe('seed', () => {
  it('gives the same rows every time, except for the moving ones', async () => {
    const contents: unknown[] = [];
    for (const name of ['first', 'second']) {
      const dataSource = await connect(name);
      await seed(dataSource, { scale: 0.01 });
      contents.push(
        await dataSource.query(`
          SELECT (SELECT md5(string_agg(u::text, ',' ORDER BY id)) FROM users u) AS users,
                 (SELECT md5(string_agg((id, author_id, title, content)::text, ',' ORDER BY id)) FROM posts) AS posts,
                 (SELECT md5(string_agg(p::text, ',' ORDER BY id)) FROM posts p WHERE id % 50 <> 0) AS old_posts,
                 (SELECT md5(string_agg((id, post_id, author_id, body)::text, ',' ORDER BY id)) FROM comments) AS comments`),
      );
    }
    expect(contents[1]).toEqual(contents[0]);
    expect(Object.values((contents[0] as object[])[0]!)).not.toContain(null);
  });

  it('has a bit of everything, in order, in its own tenant', async () => {
    const dataSource = await connect('first');
    for (const table of ['users', 'posts', 'comments'] as const) {
      expect(await count(dataSource, table)).toBe(ROWS[table] * 0.01);
      expect(await count(dataSource, `(SELECT DISTINCT tenant_id FROM ${table}) AS tenants`)).toBe(3);
    }
    const recent = await count(dataSource, `posts WHERE created_at > now() - interval '1 day'`);
    expect(recent).toBe(10);
    const strangers = 'JOIN users u ON u.id = x.author_id WHERE x.tenant_id <> u.tenant_id';
    expect(await count(dataSource, `posts x ${strangers}`)).toBe(0);
    expect(await count(dataSource, `comments x ${strangers}`)).toBe(0);
    const onPosts = 'comments c JOIN posts p ON p.id = c.post_id';
    expect(await count(dataSource, `${onPosts} WHERE c.tenant_id <> p.tenant_id`)).toBe(0);
    expect(await count(dataSource, `${onPosts} WHERE c.created_at < p.created_at OR c.created_at > now()`)).toBe(0);
  });

  it('leaves a blog with users alone, and the next id free', async () => {
    const dataSource = await connect('first');
    expect(await seed(dataSource, { scale: 0.01 })).toEqual({ seeded: false, rows: 0 });
    for (const [table, columns] of [
      ['users', `(tenant_id, name, email) VALUES ('acme', 'New', 'new@acme.example')`],
      ['posts', `(tenant_id, author_id, title, content) VALUES ('acme', 1, 'T', 'C')`],
      ['comments', `(tenant_id, post_id, author_id, body) VALUES ('acme', 1, 1, 'B')`],
    ] as const) {
      expect(await dataSource.query(`INSERT INTO ${table} ${columns} RETURNING id`)).toEqual([
        { id: ROWS[table] * 0.01 + 1 },
      ]);
    }
  });

  it('leaves nothing behind when it is stopped, and reports how far it came', async () => {
    const dataSource = await connect('aborted');
    const stop = new AbortController();
    const seen: SeedProgress[] = [];
    const seeding = seed(dataSource, {
      scale: 0.01,
      signal: stop.signal,
      onProgress: (progress) => {
        seen.push(progress);
        if (progress.tenant === 'globex') stop.abort();
      },
    });
    await expect(seeding).rejects.toThrow(/aborted/);
    expect(seen.map(({ tenant, table, done, total }) => [tenant, table, done, total])).toEqual([
      ['acme', 'users', 10, 2520],
      ['acme', 'posts', 260, 2520],
      ['acme', 'comments', 1260, 2520],
      ['globex', 'users', 1266, 2520],
    ]);
    expect(await count(dataSource, 'users')).toBe(0);
  });
});

describe('a database that cannot be opened', () => {
  it.each([
    ['localhost:5432/blog', 'not a PostgreSQL URL; write it like postgres://user:password@host:5432/database'],
    ['postgres://u:secret@127.0.0.1:1/blog', 'cannot connect to 127.0.0.1:1/blog: connect ECONNREFUSED 127.0.0.1:1'],
  ])('%s', async (url, message) => {
    await expect(openDatabase(url)).rejects.toMatchObject({ name: 'DatabaseUnavailableError', message });
  });
});
