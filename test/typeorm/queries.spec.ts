import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { type CachedEntityRepository, type EntityReadOptions } from 'nestjs-result-cache/typeorm';
import { EntityNotFoundError, Raw, type SelectQueryBuilder } from 'typeorm';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { closeNest } from '../support/nest.js';
import { BLOG, Post, User } from './blog.js';
import { startOrm, type StartedOrm } from './orm.js';

let database: TestDatabase;
let one: StartedOrm;
let users: CachedEntityRepository<User>;
let posts: CachedEntityRepository<Post>;

beforeAll(async () => {
  database = await createDatabase();
  one = await startOrm(database, { entities: BLOG, repositories: [User, Post] });
  users = one.cached(User);
  posts = one.cached(Post);
});

afterAll(async () => {
  await closeNest();
  await database.drop();
});

beforeEach(async () => {
  await sql(`TRUNCATE users, posts, comments, tags, posts_tags_tags RESTART IDENTITY CASCADE;
    INSERT INTO users (name) VALUES ('Ann'), ('Ben');
    INSERT INTO posts (title, author_id) VALUES ('first', 1), ('second', 2)`);
});

const sql = (text: string): Promise<unknown> => database.pool.query(text);
const build = (): SelectQueryBuilder<Post> => posts.repository.createQueryBuilder('post');

describe('a query of one’s own', () => {
  it.each<[string, () => Promise<unknown>]>([
    [
      'getMany',
      () => posts.cached(build().where('post.title LIKE :like', { like: '%s%' }).orderBy('post.id')).getMany(),
    ],
    [
      'getOne',
      () =>
        posts
          .cached(build().leftJoinAndSelect('post.author', 'author', 'author.active = true').where({ id: 1 }))
          .getOne(),
    ],
    [
      'getManyAndCount',
      () =>
        posts
          .cached(
            build()
              .innerJoin('post.author', 'a')
              .where('LOWER(a.name) IN (:...names)', { names: ['ann', 'anna', 'ben'] })
              .take(5),
          )
          .getManyAndCount(),
    ],
    [
      'getCount',
      () => posts.cached(build().innerJoin('post.author', 'a').andWhere('a.name <> :name', { name: 'Ben' })).getCount(),
    ],
    [
      'getRawMany',
      () =>
        posts
          .cached(
            build().leftJoin('post.author', 'a').select('a.name', 'name').addSelect('COUNT(*)', 'n').groupBy('a.name'),
          )
          .getRawMany(),
    ],
  ])('is cached, and void when a table of it changes: %s', async (name, read) => {
    await one.prime(read);
    await sql("UPDATE posts SET title = 'thirst' WHERE id = 1");
    expect(await one.outcome(read)).toBe('computed');
    await one.prime(read);
    await sql("UPDATE users SET name = 'Anna' WHERE id = 1");
    expect(await one.outcome(read)).toBe(name === 'getMany' ? 'hit' : 'computed');
  });

  it('gives what the builder itself gives, and leaves it as it was', async () => {
    const qb = build().leftJoinAndSelect('post.author', 'author').orderBy('post.id');
    await one.prime(() => posts.cached(qb).getMany());
    expect(await posts.cached(qb).getMany()).toEqual(await qb.getMany());
    expect((await posts.cached(qb).getMany())[0]?.author).toBeInstanceOf(User);
  });

  it.each<[string, () => SelectQueryBuilder<any>, string]>([
    ['a sub-select in where', () => build().where('post.id IN (SELECT id FROM users)'), 'users'],
    ['EXISTS', () => build().whereExists(build().subQuery().select('1').from('users', 't')), 'users'],
    ['a function', () => build().where('secret_of(post.id) > 0'), 'users'],
    ['a function written like a column', () => build().where('post.secret_of > 0'), 'users'],
    ['a sub-select in select', () => build().addSelect('(SELECT count(*) FROM users)', 'n'), 'users'],
    ['a common table expression', () => build().addCommonTableExpression('SELECT 1 FROM users', 'one'), 'posts'],
    [
      'from a sub-select',
      () =>
        one.source
          .createQueryBuilder()
          .select('x.id')
          .from((qb: SelectQueryBuilder<any>) => qb.select('c.id', 'id').from('users', 'c'), 'x'),
      'users',
    ],
    ['a comment', () => build().where('true /* SELECT */'), 'posts'],
  ])('is found out to read what it reads: %s', async (_, make, table) => {
    await sql(`
      CREATE OR REPLACE FUNCTION secret_of(integer) RETURNS bigint LANGUAGE sql STABLE RETURN (SELECT count(*) FROM users);
      CREATE OR REPLACE FUNCTION secret_of(posts) RETURNS bigint LANGUAGE sql STABLE RETURN (SELECT count(*) FROM users);`);
    const read = (): Promise<unknown> => posts.cached(make()).getRawMany();
    await one.prime(read);
    expect(await one.outcome(read)).toBe('hit');
    await sql(table === 'posts' ? 'UPDATE posts SET title = title' : 'UPDATE users SET name = name');
    expect(await one.outcome(read)).toBe('computed');
  });

  it.each<[string, () => SelectQueryBuilder<any>]>([
    ['what the connection holds', () => build().where('post.title = current_user')],
    ['a function that PostgreSQL does not parse', () => build().where('hidden(post.id) > 0')],
    ['the catalogue', () => build().leftJoin('pg_class', 'x', 'true').groupBy('post.id')],
    ['a table that is not watched', () => build().leftJoin('post.comments', 'comment')],
  ])('is not cached where nobody can tell what it reads, or of its writes: %s', async (_, make) => {
    await sql(
      'CREATE OR REPLACE FUNCTION hidden(integer) RETURNS integer LANGUAGE plpgsql AS $$ BEGIN RETURN $1; END $$',
    );
    const before = one.warnings.length;
    const read = (): Promise<unknown> => posts.cached(make()).getRawMany();
    for (let round = 0; round < 2; round++) expect(['bypassed', 'computed']).toContain(await one.outcome(read));
    expect(one.warnings.slice(before).filter((line) => line.includes('is not cached')).length).toBeLessThan(2);
  });

  it('keeps what is around it out of the cache as well', async () => {
    let computed = 0;
    const outer = (): Promise<unknown> =>
      one.cache.getOrSet(
        'outer',
        async () => [++computed, await users.findBy({ name: Raw((name) => `${name} = 'Ann'`) })],
        { domains: ['user'] },
      );
    await outer();
    await one.drain();
    await outer();
    expect(computed).toBe(2);
  });
});

describe('one read', () => {
  it('can pass by the cache', async () => {
    const read = (how?: EntityReadOptions) => () => users.findOneBy({ id: 1 }, how);
    await one.prime(read());
    expect(await one.outcome(read({ skipCache: true }))).toBe('bypassed');
    expect(await one.outcome(read({ ttl: 0 }))).toBe('bypassed');
    expect(await one.outcome(read({ key: 'of an admin' }))).toBe('computed');
    expect(await one.outcome(read({ freshness: { maxStaleness: '50ms' } }))).toBe('hit');
  });

  it('can carry a tag of one’s own', async () => {
    const read = () => users.findOneBy({ id: 1 }, { tags: ['import'] });
    await one.prime(read);
    await one.cache.invalidateTags('import');
    expect(await one.outcome(read)).toBe('computed');
  });

  it('shares its entry with those that ask the same in other words', async () => {
    await one.prime(() => users.findOneBy({ id: 1 }));
    expect(await one.outcome(() => users.findOneOrFail({ where: { id: 1 } }))).toBe('hit');
    await one.prime(() => users.countBy({ active: true }));
    expect(await one.outcome(() => users.count({ where: { active: true } }))).toBe('hit');
    expect(await users.countBy({ active: true })).toBe(2);
    expect(await users.exists({ where: { active: true } })).toBe(true);
    expect(await users.existsBy({ name: 'Zoe' })).toBe(false);
  });

  it('does not share it with those that differ only beside the SQL', async () => {
    const relations = { author: true };
    await one.prime(() => posts.find({ relations, order: { id: 'ASC' }, take: 1 }));
    expect(await posts.find({ relations, order: { id: 'ASC' }, take: 2 })).toHaveLength(2);
    await one.prime(() => posts.find({ where: { id: 1 }, relationLoadStrategy: 'query' }));
    expect(await posts.find({ where: { id: 1 }, relations, relationLoadStrategy: 'query' })).toMatchObject([
      { author: { name: 'Ann' } },
    ]);
    await one.prime(() => posts.cached(build().leftJoinAndSelect('post.author', 'a')).getMany());
    const mapped = build().leftJoinAndMapOne('post.writer', 'post.author', 'a').orderBy('post.id');
    expect(await posts.cached(mapped).getMany()).toMatchObject([{ writer: { name: 'Ann' } }, {}]);
  });

  it.each<[string, () => Promise<unknown>, string]>([
    ['an unknown option', () => users.find({}, { ttll: 1 } as never), "did you mean 'ttl'"],
    ['a TTL that is none', () => users.find({}, { ttl: 'soon' as never }), 'ttl'],
    ['a skipCache that is neither', () => users.find({}, { skipCache: 'no' as never }), 'skipCache'],
    ['a transaction that is none', () => users.find({}, { within: {} as never }), 'within'],
    ['no condition', () => users.findOne({}), 'selection conditions'],
    ['a property that is not there', () => users.findBy({ nome: 'x' } as never), 'nome'],
  ])('is refused for %s', async (_, read, message) => {
    await expect(read()).rejects.toThrow(message);
  });

  it('fails as TypeORM does where nothing is found', async () => {
    await expect(users.findOneOrFail({ where: { id: 99 } })).rejects.toThrow(EntityNotFoundError);
  });
});

describe('inside a transaction', () => {
  it('reads see what it has written, and nobody else does', async () => {
    const read = () => users.findOneBy({ id: 1 });
    await one.prime(read);
    await one.source.transaction(async (manager) => {
      await manager.update(User, 1, { name: 'Anna' });
      const mine = users.withManager(manager);
      expect((await mine.findOneBy({ id: 1 }))?.name).toBe('Anna');
      expect((await users.findOneBy({ id: 1 }, { within: manager }))?.name).toBe('Anna');
      expect((await users.findOneBy({ id: 1 }, { within: manager.queryRunner! }))?.name).toBe('Anna');
      const qb = mine.repository.createQueryBuilder('user').where({ id: 1 });
      expect((await mine.cached(qb).getOne())?.name).toBe('Anna');
      expect((await read())?.name).toBe('Ann');
    });
    expect((await read())?.name).toBe('Anna');
  });
});
