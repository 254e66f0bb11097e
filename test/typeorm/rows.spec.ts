import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { type CachedEntityRepository } from 'nestjs-result-cache/typeorm';
import { In } from 'typeorm';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { closeNest } from '../support/nest.js';
import { BLOG, Comment, Post, Tag, User } from './blog.js';
import { startOrm, type StartedOrm } from './orm.js';

let database: TestDatabase;
let one: StartedOrm;
let users: CachedEntityRepository<User>;
let posts: CachedEntityRepository<Post>;

beforeAll(async () => {
  database = await createDatabase();
  one = await startOrm(database, { entities: BLOG });
  users = one.cached(User);
  posts = one.cached(Post);
});

afterAll(async () => {
  await closeNest();
  await database.drop();
});

beforeEach(async () => {
  await sql(`TRUNCATE users, posts, comments, tags, posts_tags_tags RESTART IDENTITY CASCADE;
    INSERT INTO users (name, tenant_id) VALUES ('Ann', 'acme'), ('Ben', 'acme'), ('Cid', 'globex');
    UPDATE users SET "bestFriendId" = 2 WHERE id = 1;
    INSERT INTO posts (title, author_id) VALUES ('first', 1), ('second', 2), ('third', 1), ('orphan', NULL);
    INSERT INTO comments (text, "postId") VALUES ('nice', 1), ('well', 2);
    INSERT INTO tags (label) VALUES ('red'), ('blue');
    INSERT INTO posts_tags_tags ("postsId", "tagsId") VALUES (1, 1), (2, 2)`);
});

const sql = (text: string): Promise<unknown> => database.pool.query(text);

type Reads = Record<string, () => Promise<unknown>>;

/** Prime all, write, and tell which had to be computed. */
async function voidedBy(reads: Reads, write: () => Promise<unknown>): Promise<string[]> {
  await one.prime(...Object.values(reads));
  await write();
  const voided: string[] = [];
  for (const [name, read] of Object.entries(reads)) if ((await one.outcome(read)) !== 'hit') voided.push(name);
  return voided;
}

describe('a lookup by primary key', () => {
  const byId = (): Reads => ({
    Ann: () => users.findOneBy({ id: 1 }),
    Ben: () => users.findOne({ where: { id: 2, active: true } }),
    both: () => users.findBy({ id: In([1, 2]) }),
    either: () => users.find({ where: [{ id: 1 }, { id: 3 }] }),
    nobody: () => users.findOneBy({ id: 99 }),
    known: () => users.existsBy({ id: 3 }),
    all: () => users.find({ order: { id: 'ASC' } }),
  });

  it.each<[string, string, string[]]>([
    ['one of its rows is written', "UPDATE users SET name = 'Anna' WHERE id = 1", ['Ann', 'both', 'either', 'all']],
    ['another row is written', "UPDATE users SET name = 'Bob' WHERE id = 2", ['Ben', 'both', 'all']],
    ['the row that was not there is inserted', "INSERT INTO users (id, name) VALUES (99, 'Zoe')", ['nobody', 'all']],
    ['a row is deleted', 'DELETE FROM users WHERE id = 3', ['either', 'known', 'all']],
    ['a row changes its key', 'UPDATE users SET id = 99 WHERE id = 3', ['either', 'nobody', 'known', 'all']],
  ])('is computed again only when %s', async (_, write, voided) => {
    expect(await voidedBy(byId(), () => sql(write))).toEqual(voided);
  });

  it('gives what a write through the plain repository left', async () => {
    await one.prime(() => users.findOneBy({ id: 1 }));
    await users.repository.update(1, { name: 'Anna' });
    expect((await users.findOneBy({ id: 1 }))?.name).toBe('Anna');
    const ben = await users.repository.findOneByOrFail({ id: 2 });
    await users.repository.save({ ...ben, name: 'Benno' });
    expect((await users.findOneBy({ id: 2 }))?.name).toBe('Benno');
  });
});

describe('a list by an equality', () => {
  const lists = (): Reads => ({
    acme: () => users.findBy({ tenantId: 'acme' }),
    globex: () => users.count({ where: { tenantId: 'globex', active: true } }),
    ofAnn: () => posts.findBy({ authorId: 1 }),
    ofBen: () => posts.findAndCount({ where: { author: { id: 2 } }, take: 1, order: { title: 'ASC' } }),
    ofBoth: () => posts.find({ where: [{ authorId: 1 }, { author: { id: 2 } }] }),
    ofNamedAnn: () => posts.find({ where: { author: { name: 'Ann' } } }),
    titled: () => posts.findBy({ title: 'first' }),
    some: () => posts.find({ where: [{ authorId: 1 }, { title: 'second' }] }),
  });

  it.each<[string, string, string[]]>([
    ['of a tenant', "UPDATE users SET name = 'Cyd' WHERE id = 3", ['globex', 'ofBoth', 'ofNamedAnn']],
    [
      'of two tenants, when a row moves',
      "UPDATE users SET tenant_id = 'globex' WHERE id = 2",
      ['acme', 'globex', 'ofBen', 'ofBoth', 'ofNamedAnn'],
    ],
    [
      'of an author',
      "INSERT INTO posts (title, author_id) VALUES ('new', 1)",
      ['ofAnn', 'ofBoth', 'ofNamedAnn', 'titled', 'some'],
    ],
    [
      'of another author',
      "UPDATE posts SET title = 'a second' WHERE id = 2",
      ['ofBen', 'ofBoth', 'ofNamedAnn', 'titled', 'some'],
    ],
    ['of none', "UPDATE posts SET title = 'lonely' WHERE id = 4", ['ofNamedAnn', 'titled', 'some']],
  ])('%s is computed again when it could have changed', async (_, write, voided) => {
    expect(await voidedBy(lists(), () => sql(write))).toEqual(voided);
  });
});

describe('a list with relations', () => {
  const reads = (): Reads => ({
    withAuthors: () => posts.find({ where: { id: In([1, 3]) }, relations: { author: true } }),
    second: () => posts.findOne({ where: { id: 2 }, relations: { author: true, comments: true, tags: true } }),
    orphan: () => posts.findOne({ where: { id: 4 }, relations: { author: true, comments: true } }),
    friends: () => users.find({ where: { tenantId: 'acme' }, relations: { bestFriend: true }, order: { id: 'ASC' } }),
    byName: () =>
      posts.find({ where: { id: In([1, 2]) }, relations: { author: true }, order: { author: { name: 'ASC' } } }),
    globex: () => users.find({ where: { tenantId: 'globex' }, relations: { posts: { comments: true } } }),
  });

  it.each<[string, string, string[]]>([
    ['an author is renamed', "UPDATE users SET name = 'Anna' WHERE id = 1", ['withAuthors', 'friends', 'byName']],
    ['another author is renamed', "UPDATE users SET name = 'Bob' WHERE id = 2", ['second', 'friends', 'byName']],
    ['somebody without posts is renamed', "UPDATE users SET name = 'Cyd' WHERE id = 3", ['byName', 'globex']],
    ['a post gets a comment', `INSERT INTO comments (text, "postId") VALUES ('new', 2)`, ['second']],
    ['a post gets its first comment', `INSERT INTO comments (text, "postId") VALUES ('new', 4)`, ['orphan']],
    ['a comment moves', 'UPDATE comments SET "postId" = 4 WHERE id = 2', ['second', 'orphan']],
    ['a comment is deleted softly', 'UPDATE comments SET "deletedAt" = now() WHERE id = 2', ['second']],
    ['a post gets an author', 'UPDATE posts SET author_id = 3 WHERE id = 4', ['orphan', 'globex']],
    ['a tag is renamed', "UPDATE tags SET label = 'navy' WHERE id = 2", ['second']],
    ['another tag is renamed', "UPDATE tags SET label = 'pink' WHERE id = 1", []],
    ['a post gets a tag', 'INSERT INTO posts_tags_tags VALUES (2, 1)', ['second']],
    ['another post gets a tag', 'INSERT INTO posts_tags_tags VALUES (3, 1)', []],
  ])('is computed again only where it shows what changed: %s', async (_, write, voided) => {
    expect(await voidedBy(reads(), () => sql(write))).toEqual(voided);
  });

  it('shows what a row of a junction table pointed to before it was there', async () => {
    const client = await database.pool.connect();
    try {
      await client.query('SET session_replication_role = replica; INSERT INTO posts_tags_tags VALUES (2, 9)');
    } finally {
      client.release(true);
    }
    const { second } = reads();
    expect(await voidedBy({ second: second! }, () => sql("INSERT INTO tags (id, label) VALUES (9, 'late')"))).toEqual([
      'second',
    ]);
  });

  it('is always what TypeORM reads', async () => {
    await one.prime(...Object.values(reads()));
    const plain = await posts.repository.findOne({
      where: { id: 2 },
      relations: { author: true, comments: true, tags: true },
    });
    const cached = await posts.findOne({ where: { id: 2 }, relations: { author: true, comments: true, tags: true } });
    expect(cached).toEqual(plain);
    expect(cached).toBeInstanceOf(Post);
    expect(cached?.author).toBeInstanceOf(User);
    expect(cached?.author?.greeting).toBe('Hello Ben');
    expect(cached?.comments[0]).toBeInstanceOf(Comment);
    expect(cached?.tags[0]).toBeInstanceOf(Tag);
  });
});

describe('relations loaded by queries of their own', () => {
  it('make a list depend on their tables', async () => {
    const read = (): Promise<unknown> =>
      posts.find({ where: { id: 1 }, relations: { tags: true, author: true }, relationLoadStrategy: 'query' });
    for (const write of [
      "UPDATE tags SET label = 'x' WHERE id = 1",
      'INSERT INTO posts_tags_tags VALUES (1, 2)',
      "UPDATE users SET name = 'x' WHERE id = 1",
    ])
      expect(await voidedBy({ read }, () => sql(write))).toEqual(['read']);
  });

  it('of ids too', async () => {
    const read = (): Promise<unknown> => posts.find({ where: { id: 1 }, loadRelationIds: true });
    for (const write of [
      'INSERT INTO posts_tags_tags VALUES (1, 2)',
      `INSERT INTO comments (text, "postId") VALUES ('n', 1)`,
    ])
      expect(await voidedBy({ read }, () => sql(write))).toEqual(['read']);
  });
});
