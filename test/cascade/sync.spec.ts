import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { createSync } from 'nestjs-result-cache';
import { CascadeWorld } from '../support/cascade-world.js';

let world: CascadeWorld;

beforeAll(async () => {
  world = await CascadeWorld.open();
  await world.sql(`
    CREATE TABLE tv_user (id int PRIMARY KEY, "Full name" text, post_count bigint, data jsonb, synced_at timestamptz DEFAULT now());
    CREATE VIEW v_user AS SELECT u.id, u.name AS "Full name", (SELECT count(*) FROM posts p WHERE p.author_id = u.id) AS post_count,
      jsonb_build_object('email', u.email) AS data FROM users u;
    CREATE TABLE tv_post (id int PRIMARY KEY, author_id int, title text, author text);
    CREATE VIEW v_post AS SELECT p.id, p.author_id::int, p.title, u.name AS author FROM posts p JOIN users u ON u.id = p.author_id;
    SELECT fraiseql_cache.watch('tv_user', 'user_view'), fraiseql_cache.watch('tv_post', 'post_view', NULL, '[["author_id"]]')`);
});
afterAll(() => world.close());
beforeEach(async () => {
  await world.reset();
  await world.sql('TRUNCATE tv_user, tv_post');
});

const rows = async (): Promise<unknown[]> =>
  (await world.sql('SELECT id, "Full name" AS name, post_count::int AS posts, data FROM tv_user ORDER BY id')).rows;

describe('an explicit sync', () => {
  const sync = (): ReturnType<typeof createSync<'user' | 'post'>> =>
    createSync(world.database.pool, {
      user: { table: 'tv_user', from: 'v_user', key: 'id' },
      post: { table: 'tv_post', from: 'v_post' },
    });

  it('brings in rows, changes them, and takes them away', async () => {
    const { user } = sync();
    expect(await user([1, 2, 9999])).toBe(2);
    await world.sql(`UPDATE users SET name = 'changed' WHERE id = 1; DELETE FROM users WHERE id = 2`);
    expect(await user([1, 2])).toBe(2);
    expect(await rows()).toEqual([{ id: 1, name: 'changed', posts: 1, data: { email: 'e1' } }]);
    expect(await user([])).toBe(0);
  });

  it('voids what reads the rows that changed, with what rules say, and nothing for those that did not', async () => {
    const { user } = sync();
    await user([1, 2]);
    await world.register({ source: 'user_view', cascadeTo: ['post_view:author:{id}'] });
    const entries = {
      all: { domains: ['user_view'] },
      posts: { rows: [['post_view', { author_id: 1 }]] as const },
      otherPosts: { rows: [['post_view', { author_id: 2 }]] as const },
    };
    await world.sql(`UPDATE users SET name = 'changed' WHERE id = 1`);
    expect(await world.voids(entries, () => user([1, 2]))).toEqual(['all', 'posts']);
    expect(await world.voids(entries, () => user([1, 2]))).toEqual([]);
  });

  it('of the same row by two does not end with the older one', async () => {
    const { user } = sync();
    await world.connected(async (writer) => {
      // It has the row, and holds it until it has written what it read.
      await writer.query('BEGIN; SELECT pg_advisory_xact_lock($$tv_user$$::regclass::oid::int, hashtext($$1$$))');
      const syncing = user([1]);
      await world.sql(`UPDATE users SET name = 'newest' WHERE id = 1`);
      await writer.query('COMMIT');
      await syncing;
    });
    expect(await rows()).toMatchObject([{ name: 'newest' }]);
  });

  it('refuses what it cannot do, with what to write', async () => {
    expect(() => createSync(world.database.pool, { user: { table: 'tv_user' } as never })).toThrow("from: 'tv_user'");
    expect(() => createSync(world.database.pool, { user: { table: 'a', from: 'b', id: 'c' } as never })).toThrow(
      "no option 'id'",
    );
    const wrong = createSync(world.database.pool, { user: { table: 'tv_user', from: 'v_user', key: 'uid' } });
    await expect(wrong.user([1])).rejects.toThrow("has no column 'uid'");
    await expect(sync().user(1 as never)).rejects.toThrow('sync.user([id])');
  });
});
