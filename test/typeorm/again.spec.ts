import { afterAll, beforeAll, beforeEach, expect, it } from '@jest/globals';
import { type CachedEntityRepository } from 'nestjs-result-cache/typeorm';
import { Column, Entity, MoreThan, PrimaryColumn } from 'typeorm';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { closeNest } from '../support/nest.js';
import { BLOG, Post, User } from './blog.js';
import { startOrm, type StartedOrm } from './orm.js';

/** As of the request that is being served. */
let prefix = '';

@Entity()
class Coded {
  @PrimaryColumn()
  id!: number;

  @Column({ transformer: { to: (code: string) => prefix + code, from: (code: string) => code.slice(2) } })
  code!: string;
}

let database: TestDatabase;
let coding: TestDatabase;
let one: StartedOrm;
let users: CachedEntityRepository<User>;
let posts: CachedEntityRepository<Post>;

beforeAll(async () => {
  [database, coding] = [await createDatabase(), await createDatabase()];
  one = await startOrm(database, { entities: BLOG });
  users = one.cached(User);
  posts = one.cached(Post);
});
afterAll(async () => {
  await closeNest();
  await database.drop();
  await coding.drop();
});

const sql = (text: string): Promise<unknown> => database.pool.query(text);
beforeEach(() =>
  sql(`TRUNCATE users, posts, comments, tags, posts_tags_tags RESTART IDENTITY CASCADE;
    INSERT INTO users (name) VALUES ('Ann'), ('Ben'), ('Cid'); INSERT INTO posts (title, author_id) VALUES ('first', 1), ('second', 2)`),
);

it('what was read before is computed with the options of the call, also if they change while it waits', async () => {
  await one.prime(() => users.findOneBy({ id: 1 }));
  await sql("UPDATE users SET name = 'Anna' WHERE id = 1");
  const where = { id: 1 };
  const asked = users.findOneBy(where);
  where.id = 2;
  expect(await asked).toMatchObject({ id: 1, name: 'Anna' });
  expect((await users.findOneBy({ id: 1 }))?.name).toBe('Anna');
  expect((await users.findOneBy({ id: 2 }))?.name).toBe('Ben');
});

it('what is computed again depends on the rows that it shows then', async () => {
  const read = () => posts.find({ where: { id: 1 }, relations: { author: true } });
  await one.prime(read);
  await sql('UPDATE posts SET author_id = 3 WHERE id = 1');
  await one.prime(read);
  await sql("UPDATE users SET name = 'Anna' WHERE id = 1");
  expect(await one.outcome(read)).toBe('hit');
  await sql("UPDATE users SET name = 'Sid' WHERE id = 3");
  expect((await read())[0]!.author!.name).toBe('Sid');
});

it('what was read before is read in the way of each call', async () => {
  const read = (ttl?: number | string, tags?: string[]) => () => users.findOneBy({ id: 1 }, { ttl, tags });
  await one.prime(read());
  expect(await one.outcome(read())).toBe('hit');
  expect(await one.outcome(read(0))).toBe('bypassed');
  expect(await one.outcome(read('5m'))).toBe('hit');
  const tags = ['first'];
  await sql("UPDATE users SET name = 'Anna' WHERE id = 1");
  await one.prime(read('5m', tags));
  await sql("UPDATE users SET name = 'Anne' WHERE id = 1");
  tags[0] = 'second';
  await one.prime(read('5m', tags));
  await one.cache.invalidateTags('second');
  expect(await one.outcome(read())).toBe('computed');
});

it('options that differ in what JSON does not show are told apart', async () => {
  expect(await users.countBy({ id: MoreThan(1) })).toBe(2);
  expect(await users.countBy({ id: MoreThan(2) })).toBe(1);
  expect(await users.find({ where: { id: 1 }, select: { id: true } })).toEqual([
    expect.not.objectContaining({ name: 'Ann' }),
  ]);
  expect(await users.find({ where: { id: 1 } })).toEqual([expect.objectContaining({ name: 'Ann' })]);
  expect(await users.findOneBy({ id: 1 })).toMatchObject({ name: 'Ann' });
});

it('a transformer is asked at every read', async () => {
  const two = await startOrm(coding, { entities: [Coded] });
  const coded = two.cached(Coded);
  await coding.pool.query("INSERT INTO coded VALUES (1, 'a-x'), (2, 'b-x')");
  for (let round = 0; round < 3; round++)
    for (const [index, each] of ['a-', 'b-'].entries()) {
      prefix = each;
      await two.prime(() => coded.findOneBy({ code: 'x' }));
      expect(await coded.findOneBy({ code: 'x' })).toMatchObject({ id: index + 1 });
    }
});
