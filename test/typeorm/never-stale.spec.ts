import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Equal, In, IsNull, Like, MoreThan, Not, type FindManyOptions } from 'typeorm';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { closeNest } from '../support/nest.js';
import { BLOG, Comment, Post, Tag, User } from './blog.js';
import { startOrm, type StartedOrm } from './orm.js';

let database: TestDatabase;
let one: StartedOrm;
let two: StartedOrm;

beforeAll(async () => {
  database = await createDatabase();
  one = await startOrm(database, { entities: BLOG });
  two = await startOrm(database, { entities: BLOG });
});

afterAll(async () => {
  await closeNest();
  await database.drop();
});

/** The same numbers in every run. */
function randomNumbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const userReads: FindManyOptions<User>[] = [
  {},
  { where: { id: 1 } },
  { where: { id: In([2, 3]) }, relations: { bestFriend: { bestFriend: true } } },
  { where: { tenantId: 'acme' }, relations: { posts: true } },
  { where: { tenantId: 'acme', bestFriend: { id: 2 } } },
  { where: { bestFriend: { bestFriend: { id: 1 } } }, relations: { bestFriend: true } },
  { where: { bestFriend: { name: 'b' } } },
  { where: { bestFriend: IsNull() } },
  { where: { bestFriend: Equal(3) as never } },
  { where: [{ id: 1 }, { bestFriend: { id: 1 } }] },
  { where: [{ id: 1, name: 'a' }, { tenantId: 'globex' }], relations: { bestFriend: true } },
  { where: { posts: MoreThan(1) as never } },
  { where: { posts: { id: 2 } } },
  { where: { posts: { comments: { text: Like('a%') } } } },
  {
    where: { id: Not(2) },
    relations: { bestFriend: true },
    order: { bestFriend: { name: 'ASC' }, id: 'ASC' },
    take: 2,
  },
  { order: { name: 'ASC', id: 'ASC' }, take: 2, skip: 1, relations: { posts: { comments: true } } },
];
const postReads: FindManyOptions<Post>[] = [
  {},
  { where: { id: 1 }, relations: { author: { bestFriend: true }, comments: true, tags: true } },
  { where: { authorId: 2 }, relations: { author: true } },
  { where: { author: { id: 2 } }, relations: { author: true, tags: true }, withDeleted: true },
  { where: { author: { tenantId: 'acme' } }, relations: { tags: true } },
  { where: { author: { id: In([1, 2]), name: 'a' } } },
  { where: { tags: { id: 1 } }, relations: { tags: true } },
  { where: { tags: { label: 'b' } } },
  { where: { tags: MoreThan(0) as never } },
  {
    where: { id: In([1, 2, 3]) },
    relations: { author: true },
    order: { author: { name: 'DESC' }, id: 'ASC' },
    take: 1,
  },
  { where: { id: In([1, 2]) }, relations: { comments: { post: true } }, withDeleted: true },
  {
    where: { id: 3 },
    relations: { author: true, tags: true },
    select: { id: true, title: true, author: { id: true, name: true } },
  },
  { where: { id: 2 }, relations: { tags: true, comments: true }, relationLoadStrategy: 'query' },
  { where: { id: 2 }, loadRelationIds: true },
  { relations: { author: true }, order: { id: 'ASC' } },
];
const commentReads: FindManyOptions<Comment>[] = [
  {},
  { where: { id: 1 }, relations: { post: { author: true } } },
  { where: { id: In([1, 2]) }, relations: { post: true } },
  { where: { post: { id: 1 } }, relations: { post: true } },
  { where: { post: { author: { id: 1 } } } },
  { where: { text: 'a' }, relations: { post: { tags: true } } },
];
const tagReads: FindManyOptions<Tag>[] = [
  { where: { id: 1 }, relations: { posts: { author: true } } },
  { where: { posts: { id: 1 } } },
];

async function compareOne(orm: StartedOrm, entity: new () => any, options: FindManyOptions<any>): Promise<void> {
  const cached = orm.cached<any>(entity);
  const label = `${entity.name} ${JSON.stringify(options)}`;
  const sorted = (list: { id: number }[]): unknown[] => (options.order ? list : list.sort((a, b) => a.id - b.id));
  const plain = cached.repository;
  const [found, count, exists] = await Promise.all([
    cached.find(options),
    cached.count(options),
    cached.exists(options),
  ]);
  expect([label, sorted(found)]).toEqual([label, sorted(await plain.find(options))]);
  expect([label, count, exists]).toEqual([label, await plain.count(options), await plain.exists(options)]);
}

async function compare(orm: StartedOrm): Promise<void> {
  const reads: [new () => any, FindManyOptions<any>[]][] = [
    [User, userReads],
    [Post, postReads],
    [Comment, commentReads],
    [Tag, tagReads],
  ];
  await Promise.all(reads.flatMap(([entity, list]) => list.map((options) => compareOne(orm, entity, options))));
}

describe('whatever is written', () => {
  it.each([1, 2])('every cached read gives what the plain repository gives (%i)', async (seed) => {
    const random = randomNumbers(seed);
    const id = (): number => 1 + random(4);
    const maybe = (): string => (random(3) === 0 ? 'NULL' : String(id()));
    const letter = (): string => `'${'abc'[random(3)]}'`;
    const tenant = (): string => ["'acme'", "'globex'"][random(2)]!;
    const writes: (() => string)[] = [
      () =>
        `INSERT INTO users (id, name, tenant_id, "bestFriendId") VALUES (${id()}, ${letter()}, ${tenant()}, ${maybe()}) ON CONFLICT DO NOTHING`,
      () => `UPDATE users SET name = ${letter()} WHERE id = ${id()}`,
      () => `UPDATE users SET tenant_id = ${tenant()} WHERE id = ${id()}`,
      () => `UPDATE users SET "bestFriendId" = ${maybe()} WHERE id = ${id()}`,
      () => `DELETE FROM users WHERE id = ${id()}`,
      () => `INSERT INTO posts (id, title, author_id) VALUES (${id()}, ${letter()}, ${maybe()}) ON CONFLICT DO NOTHING`,
      () => `UPDATE posts SET author_id = ${maybe()} WHERE id = ${id()}`,
      () => `UPDATE posts SET title = ${letter()} WHERE id = ${id()}`,
      () => `DELETE FROM posts WHERE id = ${id()}`,
      () => `INSERT INTO comments (id, text, "postId") VALUES (${id()}, ${letter()}, ${id()}) ON CONFLICT DO NOTHING`,
      () => `UPDATE comments SET "postId" = ${id()} WHERE id = ${id()}`,
      () => `UPDATE comments SET "deletedAt" = ${random(2) ? 'now()' : 'NULL'} WHERE id = ${id()}`,
      () => `INSERT INTO tags (id, label) VALUES (${id()}, ${letter()}) ON CONFLICT DO NOTHING`,
      () => `UPDATE tags SET label = ${letter()} WHERE id = ${id()}`,
      () => `DELETE FROM tags WHERE id = ${id()}`,
      () => `INSERT INTO posts_tags_tags ("postsId", "tagsId") VALUES (${id()}, ${id()}) ON CONFLICT DO NOTHING`,
      () => `DELETE FROM posts_tags_tags WHERE "postsId" = ${id()}`,
    ];
    const client = await database.pool.connect();
    try {
      // Rows that point nowhere occur too, in databases without foreign keys.
      await client.query('SET session_replication_role = replica');
      for (let round = 0; round < 25; round++) {
        for (let n = 0; n <= random(2); n++) await client.query(writes[random(writes.length)]!());
        await compare(round % 2 === 0 ? one : two);
        await Promise.all([one.drain(), two.drain()]);
      }
    } finally {
      client.release(true);
    }
    const { hits, errors } = one.cache.engine.counters();
    expect(hits).toBeGreaterThan(500);
    expect(errors).toBe(0);
    expect(one.warnings.filter((line) => line.includes('not cached'))).toEqual([]);
  });
});
