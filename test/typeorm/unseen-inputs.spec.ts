import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type CachedEntityRepository } from 'nestjs-result-cache/typeorm';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { closeNest } from '../support/nest.js';
import { BLOG, Post, User } from './blog.js';
import { startOrm, type StartedOrm } from './orm.js';

let database: TestDatabase;
let one: StartedOrm;
let users: CachedEntityRepository<User>;
let posts: CachedEntityRepository<Post>;

beforeEach(async () => {
  database = await createDatabase();
  one = await startOrm(database, { entities: BLOG });
  users = one.cached(User);
  posts = one.cached(Post);
  await sql(`INSERT INTO users (name) VALUES ('Ann'), ('Ben');
    INSERT INTO posts (title, author_id) VALUES ('first', 1), ('second', 2);
    INSERT INTO tags (label) VALUES ('red'), ('blue');
    INSERT INTO posts_tags_tags ("postsId", "tagsId") VALUES (1, 1), (1, 2)`);
});

afterEach(async () => {
  await closeNest();
  await database.drop();
});

const sql = (text: string): Promise<unknown> => database.pool.query(text);

describe('a table that is watched in another way while the application runs', () => {
  it('is seen as it is watched now', async () => {
    const read = (): Promise<User | null> => users.findOneBy({ id: 1 });
    await one.prime(read);
    // The old domain is fed on, so that nothing but the table's own tells.
    await sql(`CREATE TABLE old_users (id int PRIMARY KEY); SELECT fraiseql_cache.watch('old_users', 'user');
      SELECT fraiseql_cache.watch('users', 'member', 'tenant_id')`);
    for (const name of ['Cid', 'Dan', 'Eve']) {
      await one.outcome(read);
      await sql(`UPDATE users SET name = '${name}' WHERE id = 1`);
      expect((await read())?.name).toBe(name);
    }
    await one.prime(read);
  });
});

describe('row-level security', () => {
  /** Have all connections of the application be of a role that policies bind. */
  async function guard(policy: string): Promise<void> {
    const role = `app_${database.name}`;
    await sql(`CREATE ROLE ${role}; CREATE TABLE members (user_id int PRIMARY KEY); INSERT INTO members VALUES (1), (2);
      SELECT fraiseql_cache.watch('members', 'member');
      GRANT SELECT ON ALL TABLES IN SCHEMA public TO ${role}; GRANT USAGE ON SCHEMA fraiseql_cache TO ${role};
      ALTER TABLE users ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON users USING (${policy})`);
    // As an application that starts after the migration would know it.
    await one.cache.engine.purge();
    const { master } = one.source.driver as unknown as {
      master: { _clients: { query(text: string): Promise<void> }[] };
    };
    for (const client of master._clients) await client.query(`SET ROLE ${role}`);
  }

  afterEach(() => sql(`DROP OWNED BY app_${database.name}; DROP ROLE app_${database.name}`));

  it('makes what its policies read a dependency', async () => {
    await guard('id IN (SELECT user_id FROM members)');
    const read = (): Promise<User[]> => users.find({ where: { id: 1 } }, { key: 'app' });
    const joined = (): Promise<Post | null> =>
      posts.findOne({ where: { id: 1 }, relations: { author: true } }, { key: 'app' });
    const loaded = (): Promise<Post | null> =>
      posts.findOne({ where: { id: 1 }, relations: { author: true }, relationLoadStrategy: 'query' }, { key: 'app' });
    await one.prime(read, joined, loaded);
    await sql('DELETE FROM members WHERE user_id = 1');
    expect(await read()).toEqual([]);
    expect((await joined())?.author).toBeNull();
    expect((await loaded())?.author ?? null).toBeNull();
  });

  it('is not cached where nothing says for whom', async () => {
    await guard("name = current_setting('app.name', true)");
    expect(await one.outcome(() => users.findOneBy({ id: 1 }))).toBe('bypassed');
    expect(one.warnings.join()).toContain('row-level security decides what of it is seen');
    await one.prime(() => users.findOneBy({ id: 1 }, { key: 'Ann' }));
  });
});

describe('a query built by hand', () => {
  it('is not taken for another whose ids are loaded by another query', async () => {
    const ids = (label: string, how = {}): Promise<unknown> =>
      posts
        .cached(
          posts.repository
            .createQueryBuilder('post')
            .where('post.id = 1')
            .loadRelationIdAndMap('post.found', 'post.tags', 'tag', (qb) =>
              qb.andWhere('tag.label = :label', { label }),
            ),
          how,
        )
        .getMany();
    for (let times = 0; times < 3; times++) {
      expect(await ids('red')).toMatchObject([{ found: [1] }]);
      await one.cache.engine.drain();
      expect(await ids('blue')).toMatchObject([{ found: [2] }]);
    }
    await one.prime(() => ids('red', { key: 'red' }));
    expect(await ids('blue', { key: 'blue' })).toMatchObject([{ found: [2] }]);
  });

  it('is not cached where it compares with the role of the connection', async () => {
    const mine = users.repository.createQueryBuilder('user').where('user.name = user');
    expect(await one.outcome(() => users.cached(mine).getMany())).toBe('bypassed');
    await one.prime(() => users.cached(users.repository.createQueryBuilder('user').where('user.id = 1')).getMany());
  });
});

describe('a connection of the caller’s', () => {
  it('may be in a transaction that TypeORM does not know of', async () => {
    const runner = one.source.createQueryRunner();
    try {
      await runner.query('BEGIN');
      await runner.query("UPDATE users SET name = 'Eve' WHERE id = 1");
      for (let times = 0; times < 3; times++)
        expect(await one.outcome(() => users.findOneBy({ id: 1 }, { within: runner }))).toBe('bypassed');
      expect((await users.findOneBy({ id: 1 }))?.name).toBe('Ann');
      await runner.query('ROLLBACK');
    } finally {
      await runner.release();
    }
  });

  it('may be one of a replica', async () => {
    const { hostname: host, port, username, password } = new URL(database.url);
    const server = { host, port: Number(port), username, password, database: database.name };
    const two = await startOrm(database, {
      entities: BLOG,
      source: { url: undefined, replication: { master: server, slaves: [server] } },
    });
    const runner = two.source.createQueryRunner('slave');
    try {
      const read = (): Promise<User[]> => two.cached(User).find({}, { within: runner });
      for (let times = 0; times < 3; times++) expect(await two.outcome(read)).toBe('bypassed');
      await two.prime(() => two.cached(User).find());
    } finally {
      await runner.release();
    }
  });
});

describe('two processes with search paths of their own', () => {
  it('do not take one another’s joined tables for theirs', async () => {
    await sql(
      `CREATE SCHEMA a; CREATE TABLE a.users (LIKE users INCLUDING ALL); INSERT INTO a.users (id, name) VALUES (1, 'Eve')`,
    );
    const extra = { options: '-c search_path=a,public' };
    const two = await startOrm(database, { entities: BLOG, source: { synchronize: false, extra } });
    const author = async ({ cached }: StartedOrm): Promise<string | undefined> =>
      (await cached(Post).findOne({ where: { id: 1 }, relations: { author: true } }))?.author?.name;
    await one.prime(() => author(one));
    expect(await author(two)).toBe('Eve');
    await two.prime(() => author(two));
    expect(await author(one)).toBe('Ann');
  });
});

describe('TypeORM’s own cache', () => {
  it('is not asked for what is kept', async () => {
    const kept = new Map<string, never>();
    const { url } = database;
    const nothing = async (): Promise<void> => undefined;
    const provider = {
      connect: nothing,
      disconnect: nothing,
      synchronize: nothing,
      clear: nothing,
      remove: nothing,
      getFromCache: async ({ query }: { query: string }) => kept.get(query),
      storeInCache: async (entry: { query: string }) => void kept.set(entry.query, entry as never),
      isExpired: () => false,
    };
    const two = await startOrm(database, {
      entities: BLOG,
      source: { url, cache: { provider: () => provider, duration: 60_000 } } as never,
    });
    const read = (): Promise<[User[], number]> =>
      two
        .cached(User)
        .cached(
          two
            .cached(User)
            .repository.createQueryBuilder('u')
            .where('u.id IN (SELECT author_id FROM posts)')
            .orderBy('u.id')
            .cache(true),
        )
        .getManyAndCount();
    for (let times = 0; times < 3; times++) expect(await two.outcome(read)).toBe('bypassed');
    expect(two.warnings.join()).toContain("TypeORM's own cache");
  });
});
