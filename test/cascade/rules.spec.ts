import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { CascadeWorld } from '../support/cascade-world.js';

let world: CascadeWorld;

beforeAll(async () => {
  world = await CascadeWorld.open();
});
afterAll(() => world.close());
beforeEach(() => world.reset());

/** Entries about posts, from coarse to exact. */
const posts = {
  all: { domains: ['post'] },
  ofAuthor: { rows: [['post', { author_id: 5 }]] as const },
  ofOther: { rows: [['post', { author_id: 6 }]] as const },
  one: { rows: [['post', { id: 1 }]] as const },
  withItsUser: { rows: [['post', { id: 1 }] as const, ['user', { id: 3 }] as const] },
  exactly: { rows: [['post', { id: 1 }, true]] as const },
};

describe('a rule between two domains', () => {
  it('as FraiseQL’s client inserts it makes a write to the source count as one to the target', async () => {
    await world.sql(`INSERT INTO fraiseql_cache.cascade_rules VALUES ('user', 'post', 'invalidate')`);
    expect(await world.voids(posts, `UPDATE users SET name = 'x' WHERE id = 5`)).toEqual([
      'all',
      'ofAuthor',
      'ofOther',
      'one',
    ]);
    expect(await world.voids(posts, `UPDATE users SET name = 'x' WHERE id = 3`)).toEqual([
      'all',
      'ofAuthor',
      'ofOther',
      'one',
      'withItsUser',
    ]);
    await world.sql(`DELETE FROM fraiseql_cache.cascade_rules WHERE source_domain = 'user'`);
    expect(await world.voids(posts, `UPDATE users SET name = 'x' WHERE id = 5`)).toEqual([]);
  });

  it('that says which rows leaves those of others alone', async () => {
    await world.register({ source: 'user', cascadeTo: ['post:author:{id}'] });
    expect(await world.voids(posts, `UPDATE users SET name = 'x' WHERE id = 5`)).toEqual(['all', 'ofAuthor', 'one']);
    expect(await world.voids(posts, `INSERT INTO users (id) VALUES (1000)`)).toEqual(['all', 'one']);
    expect(await world.voids(posts, `UPDATE users SET id = 2000 WHERE id = 6`)).toEqual(['all', 'ofOther', 'one']);
    expect(await world.voids(posts, `DELETE FROM users WHERE id = 5`)).toEqual(['all', 'ofAuthor', 'one']);
  });

  it('voids all rows it may mean when more are written than are named', async () => {
    await world.register({ source: 'user', cascadeTo: ['post:author:{id}'] });
    expect(await world.voids(posts, `UPDATE users SET name = 'x' WHERE id > 100`)).toEqual([
      'all',
      'ofAuthor',
      'ofOther',
      'one',
      'withItsUser',
    ]);
    expect(await world.voids(posts, 'TRUNCATE users')).toEqual(['all', 'ofAuthor', 'ofOther', 'one', 'withItsUser']);
  });

  it('says nothing about rows by a column that another rule goes by', async () => {
    await world.register({ source: 'user', cascadeTo: ['post:author:{id}', 'post:editor:{id}'] });
    const both = {
      author: { rows: [['post', { author_id: 5 }]] as const },
      editor: { rows: [['post', { editor_id: 8 }]] as const },
    };
    expect(await world.voids(both, `UPDATE users SET name = 'x' WHERE id = 8`)).toEqual(['author', 'editor']);
  });

  it('goes by the primary key in the other direction', async () => {
    await world.register({ source: 'post', cascadeTo: ['user:{author_id}'] });
    const users = { one: { rows: [['user', { id: 1 }]] as const }, two: { rows: [['user', { id: 2 }]] as const } };
    expect(await world.voids(users, `UPDATE posts SET title = 'y' WHERE id = 1`)).toEqual(['one']);
    expect(await world.voids(users, `UPDATE posts SET author_id = 2 WHERE id = 1`)).toEqual(['one', 'two']);
  });

  it('is compiled in when its source is watched later', async () => {
    await world.sql(
      `CREATE TABLE IF NOT EXISTS late (id int PRIMARY KEY); INSERT INTO fraiseql_cache.cascade_rules VALUES ('late', 'post')`,
    );
    expect(await world.voids(posts, `INSERT INTO late VALUES (1)`)).toEqual([]);
    await world.sql(`SELECT fraiseql_cache.watch('late', 'late')`);
    expect(await world.voids(posts, `INSERT INTO late VALUES (2)`)).toEqual([
      'all',
      'ofAuthor',
      'ofOther',
      'one',
      'withItsUser',
    ]);
    await world.sql(`SELECT fraiseql_cache.unwatch('late'); DROP TABLE late`);
  });

  it('changes the version that FraiseQL’s client compares, for every tenant', async () => {
    const version = async (tenant: string): Promise<unknown> =>
      (
        await world.sql(`SELECT version FROM fraiseql_cache.domain_version WHERE domain = 'post' AND tenant_id = $1`, [
          tenant,
        ])
      ).rows[0];
    await world.register({ source: 'user', cascadeTo: ['post:author:{id}'] });
    await world.sql(`INSERT INTO posts VALUES (500, 1, 1, 't')`);
    const before = [await version('global'), await version('t')];
    await world.sql(`UPDATE users SET name = 'x' WHERE id = 5`);
    const after = [await version('global'), await version('t')];
    expect(after[0]).not.toEqual(before[0]);
    expect(after[1]).not.toEqual(before[1]);
  });

  it('trusts a linked column only until its source gets a table that writes values another way', async () => {
    await world.register({ source: 'user', cascadeTo: ['post:author:{id}'] });
    const linked = { ofAuthor: posts.ofAuthor };
    await world.sql(`CREATE TABLE old_users (id text PRIMARY KEY, name text); INSERT INTO old_users VALUES ('05')`);
    try {
      expect(await world.voids(linked, `SELECT fraiseql_cache.watch('old_users', 'user')`)).toEqual(['ofAuthor']);
      await world.one.cache.purge();
      await world.two.cache.purge();
      expect(await world.voids(linked, `UPDATE old_users SET name = 'x'`)).toEqual(['ofAuthor']);
    } finally {
      await world.sql(`SELECT fraiseql_cache.unwatch('old_users'); DROP TABLE old_users`);
    }
  });

  it('does not trust a column whose values are written another way', async () => {
    await world.register({ source: 'user', cascadeTo: ['code:owner:{id}'] });
    const codes = { owned: { rows: [['code', { owner: '05' }]] as const } };
    expect(await world.voids(codes, `UPDATE users SET name = 'x' WHERE id = 5`)).toEqual(['owned']);
  });
});

describe('several levels', () => {
  const entries = {
    post: { rows: [['post', { author_id: 9 }]] as const },
    comment: { rows: [['comment', { post_id: 9 }]] as const },
    like: { rows: [['like', { id: 1 }]] as const },
  };
  const chain = [
    { source: 'post', cascadeTo: ['comment:post:{id}'] },
    { source: 'comment', cascadeTo: ['like:{id}'] },
  ];

  it('are followed as far as rules lead', async () => {
    await world.register({ source: 'user', cascadeTo: ['post:author:{id}'] }, ...chain);
    expect(await world.voids(entries, `UPDATE users SET name = 'x' WHERE id = 9`)).toEqual(['post', 'comment', 'like']);
    expect(await world.voids(entries, `UPDATE users SET name = 'x' WHERE id = 5`)).toEqual(['comment', 'like']);
    expect(await world.voids(entries, `UPDATE posts SET title = 'x' WHERE id = 5`)).toEqual(['post', 'like'].slice(1));
  });

  it.each([
    [1, ['post']],
    [2, ['post', 'comment']],
    [3, ['post', 'comment', 'like']],
  ])('end after maxDepth %i', async (maxDepth, expected) => {
    await world.register({ source: 'user', cascadeTo: ['post'], maxDepth }, ...chain);
    expect(await world.voids(entries, `UPDATE users SET name = 'x' WHERE id = 9`)).toEqual(expected);
  });

  it('of two-way rules end, and leave other rows of the source alone', async () => {
    await world.register(
      { source: 'user', cascadeTo: ['post:author:{id}', 'user:best_friend:{id}'] },
      { source: 'post', cascadeTo: ['user:{author_id}'] },
    );
    await world.sql(`UPDATE users SET best_friend_id = 7 WHERE id = 8`);
    const users = {
      friendsOf: { rows: [['user', { best_friend_id: 7 }]] as const },
      friendsOfOther: { rows: [['user', { best_friend_id: 70 }]] as const },
      exactly: { rows: [['user', { id: 20 }, true]] as const },
      mayShowFriend: { rows: [['user', { id: 8 }]] as const },
    };
    expect(await world.voids(users, `UPDATE users SET name = 'x' WHERE id = 7`)).toEqual([
      'friendsOf',
      'mayShowFriend',
    ]);
  });

  it('of two-way rules without one for the domain itself leave its other rows alone', async () => {
    await world.register(
      { source: 'user', cascadeTo: ['post:author:{id}'] },
      { source: 'post', cascadeTo: ['user:{author_id}'] },
    );
    const users = {
      other: { rows: [['user', { id: 8 }]] as const },
      post: { rows: [['post', { author_id: 8 }]] as const },
    };
    expect(await world.voids(users, `UPDATE users SET name = 'x' WHERE id = 7`)).toEqual([]);
    expect(await world.voids(users, `UPDATE posts SET title = 'x' WHERE id = 7`)).toEqual([]);
  });
});

describe('a condition', () => {
  it.each<[string, object, string, string]>([
    ['a boolean', { published: true }, 'id = 2', 'id = 4'],
    ['a number', { level: 7 }, 'id = 7', 'id = 8'],
    ['a list', { level: [7, 9, null] }, 'id IN (9, 10)', 'id = 10'],
    ['nothing', { email: null }, 'id = 301', 'id = 4'],
    ['an enum and a text', { standing: 'new', name: 'n7' }, 'id = 7', 'id = 8'],
    ['a UUID in capitals', { ref: 'AAAAAAAA-0000-0000-0000-00000000000A' }, 'id = 301', 'id = 4'],
  ])('on %s lets only such rows cascade', async (_, condition, such, other) => {
    await world.sql(`INSERT INTO users (id, ref) VALUES (301, 'aaaaaaaa-0000-0000-0000-00000000000a')`);
    await world.register({ source: 'user', cascadeTo: ['post'], condition: condition as { level: number } });
    const all = { all: { domains: ['post'] } };
    expect(await world.voids(all, `UPDATE users SET note = '1' WHERE ${such}`)).toEqual(['all']);
    expect(await world.voids(all, `UPDATE users SET note = '1' WHERE ${other}`)).toEqual([]);
    expect(await world.voids(all, `TRUNCATE users`)).toEqual(['all']);
  });

  it('holds for the row as it was and as it is, in statements of any size', async () => {
    await world.register({ source: 'user', cascadeTo: ['post'], condition: { published: true } });
    const all = { all: { domains: ['post'] } };
    expect(await world.voids(all, `UPDATE users SET published = true WHERE id = 50`)).toEqual(['all']);
    expect(await world.voids(all, `UPDATE users SET published = false WHERE published`)).toEqual(['all']);
    expect(await world.voids(all, `UPDATE users SET name = 'y' WHERE id BETWEEN 10 AND 30`)).toEqual([]);
    expect(await world.voids(all, `UPDATE users SET name = 'y'`)).toEqual([]);
    expect(await world.voids(all, `UPDATE users SET name = 'y', published = id = 299`)).toEqual(['all']);
    expect(await world.voids(all, `UPDATE users SET name = 'z'`)).toEqual(['all']);
  });

  it('never makes a write fail, whatever becomes of its column, nor lets one pass that it cannot judge', async () => {
    await world.register({ source: 'user', cascadeTo: ['post'], condition: { standing: 'new' } });
    const all = { all: { domains: ['post'] } };
    try {
      await world.sql(
        `BEGIN; ALTER TABLE users ALTER standing TYPE text; SELECT fraiseql_cache.watch('users', 'user', NULL, '[["best_friend_id"]]'); COMMIT`,
      );
      expect(await world.voids(all, `UPDATE users SET name = 'x' WHERE id = 1`)).toEqual(['all']);
      await world.sql(
        `BEGIN; ALTER TABLE users DROP standing; SELECT fraiseql_cache.watch('users', 'user', NULL, '[["best_friend_id"]]'); COMMIT`,
      );
      expect(await world.voids(all, `UPDATE users SET name = 'x' WHERE id = 1`)).toEqual(['all']);
    } finally {
      await world.sql(
        `ALTER TABLE users DROP IF EXISTS standing, ADD standing standing; SELECT fraiseql_cache.watch('users', 'user', NULL, '[["best_friend_id"]]')`,
      );
    }
  });
});

describe('a rule for some columns', () => {
  const all = { all: { domains: ['post'] }, ofAuthor: posts.ofAuthor, ofOther: posts.ofOther };

  beforeEach(() => world.register({ source: 'user', cascadeTo: ['post:author:{id}'], columns: ['email', 'note'] }));

  it.each([
    ['an UPDATE of another one', `UPDATE users SET name = 'x' WHERE id = 5`, []],
    ['an UPDATE that changes nothing', `UPDATE users SET email = email WHERE id IN (5, 6)`, []],
    ['an UPDATE of one', `UPDATE users SET email = 'x' WHERE id = 5`, ['all', 'ofAuthor']],
    ['an UPDATE of a JSON one', `UPDATE users SET note = '{"a": 1}' WHERE id = 5`, ['all', 'ofAuthor']],
    ['an UPDATE that changes one row of two', `UPDATE users SET email = 'e6' WHERE id IN (5, 6)`, ['all', 'ofAuthor']],
    [
      'two rows that swap values',
      `UPDATE users SET email = 'e' || 11 - id WHERE id IN (5, 6)`,
      ['all', 'ofAuthor', 'ofOther'],
    ],
    ['another key', `UPDATE users SET id = 1000 WHERE id = 5`, ['all', 'ofAuthor']],
    ['an INSERT', `INSERT INTO users (id) VALUES (1000)`, ['all']],
    ['a DELETE', `DELETE FROM users WHERE id = 6`, ['all', 'ofOther']],
    ['a TRUNCATE', `TRUNCATE users`, ['all', 'ofAuthor', 'ofOther']],
    [
      'more rows than are named, which all count as changed',
      `UPDATE users SET name = 'x'`,
      ['all', 'ofAuthor', 'ofOther'],
    ],
  ])('and %s', async (_, write, expected) => {
    expect(await world.voids(all, write)).toEqual(expected);
  });

  it('still tells the source’s own readers of every write', async () => {
    const own = { own: { domains: ['user'] }, post: { domains: ['post'] } };
    expect(await world.voids(own, `UPDATE users SET name = 'x' WHERE id = 5`)).toEqual(['own']);
  });
});

describe('a rule to a free tag', () => {
  const tags = { mine: { tags: ['user:5:followers'] }, other: { tags: ['user:6:followers'] } };

  it('fills in the row’s values', async () => {
    await world.register({ source: 'user', cascadeTo: ['user:{id}:followers'] });
    expect(await world.voids(tags, `UPDATE users SET name = 'x' WHERE id = 5`)).toEqual(['mine']);
    expect(await world.voids(tags, `UPDATE users SET name = 'x' WHERE id IN (5, 6)`)).toEqual(['mine', 'other']);
    expect(await world.voids(tags, `UPDATE users SET name = 'x'`)).toEqual(['mine', 'other']);
    expect(await world.voids(tags, `TRUNCATE users`)).toEqual(['mine', 'other']);
    expect(await world.voids(tags, `INSERT INTO users (id) VALUES (5)`)).toEqual(['mine']);
  });

  it('may be any text, of a field say', async () => {
    await world.register({ source: 'user', cascadeTo: ['@front page', '@Mr {name} {id}'], columns: ['name'] });
    const any = {
      page: { tags: ['front page'] },
      mister: { tags: ['Mr n5 5'] },
      now: { tags: ['Mr x 5'] },
      other: { tags: ['Mr n6 6'] },
    };
    expect(await world.voids(any, `UPDATE users SET name = 'x' WHERE id = 5`)).toEqual(['page', 'mister', 'now']);
    expect(await world.voids(any, `UPDATE users SET email = 'x' WHERE id = 5`)).toEqual([]);
  });
});
