import { afterAll, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { ApolloDriver, type ApolloDriverConfig } from '@nestjs/apollo';
import { Injectable, Logger, type OnApplicationBootstrap } from '@nestjs/common';
import { GraphQLModule, GraphQLSchemaHost } from '@nestjs/graphql';
import {
  CacheService,
  CascadeService,
  createSync,
  fieldTags,
  graphToText,
  setupAutoCascadeRules,
  type CascadeRule,
  type ValueOptions,
} from 'nestjs-result-cache';
import { CacheHealthIndicator, CacheHealthModule } from 'nestjs-result-cache/health';
import type pg from 'pg';
import { DataSource, EntitySchema } from 'typeorm';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { closeNest, startNest } from '../support/nest.js';
import { installSettled } from '../support/settled.js';

// Every example of the requirements on cascade invalidation, under its heading. What cannot be is shown refused, beside the
// nearest thing that can. docs/cascade-invalidation.md shows these bodies.

const schema = `
  type Query { users: [User!]! }
  type User { id: ID! name: String! posts: [Post!]! comments: [Comment!]! }
  type Post { id: ID! title: String! author: User! comments: [Comment!]! }
  type Comment { id: ID! content: String! author: User! post: Post! }`;

const watch = [
  { table: 'users', domain: 'user' },
  { table: 'posts', domain: 'post', tagColumns: [['author_id']] },
  { table: 'comments', domain: 'comment', tagColumns: [['author_id'], ['post_id']] },
  { table: 'replies', domain: 'reply' },
  { table: 'reactions', domain: 'reaction' },
  { table: 'feeds', domain: 'feed', tagColumns: [['follower_id']] },
];

let database: TestDatabase;
let pool: pg.Pool;
let cache: CacheService;
let cascade: CascadeService;

beforeAll(async () => {
  database = await createDatabase();
  pool = database.pool;
  await pool.query(`
    CREATE TABLE users (id int PRIMARY KEY, name text NOT NULL, email text, password text);
    CREATE TABLE posts (id int PRIMARY KEY, author_id int NOT NULL REFERENCES users, title text, published bool NOT NULL);
    CREATE TABLE comments (id int PRIMARY KEY, author_id int NOT NULL REFERENCES users, post_id int NOT NULL REFERENCES posts);
    CREATE TABLE replies (id int PRIMARY KEY, comment_id int);
    CREATE TABLE reactions (id int PRIMARY KEY, reply_id int);
    CREATE TABLE feeds (id int PRIMARY KEY, follower_id int)`);
  await installSettled(database);
  const nest = await startNest(database, { options: { watch, tenancy: 'off' } });
  cache = nest.cache;
  cascade = nest.app.get(CascadeService);
});

afterAll(async () => {
  await closeNest();
  await database.drop();
});

beforeEach(async () => {
  await pool.query(`
    DELETE FROM fraiseql_cache.cascade_rules; DELETE FROM fraiseql_cache.cascade_detail;
    TRUNCATE users, posts, comments, replies, reactions, feeds;
    INSERT INTO users VALUES (1, 'Alice Johnson', 'alice@example.com', 'x'), (2, 'Bob', 'bob@example.com', 'y');
    INSERT INTO posts VALUES (1, 1, 'one', true), (2, 2, 'two', false);
    INSERT INTO comments VALUES (1, 2, 1), (2, 1, 2)`);
  await cache.engine.invalidatePattern('*');
});

/** What is cached, and what it is made of. */
const entries: Readonly<Record<string, ValueOptions>> = {
  'user:1': { rows: [['user', { id: 1 }]] },
  'user:2': { rows: [['user', { id: 2 }]] },
  'user:1:posts': { rows: [['post', { author_id: 1 }]] },
  'user:2:posts': { rows: [['post', { author_id: 2 }]] },
  'user:1:comments': { rows: [['comment', { author_id: 1 }]] },
  'user:2:comments': { rows: [['comment', { author_id: 2 }]] },
  'user:1:followers': { tags: ['user:1:followers'] },
  'feed:2': { rows: [['feed', { follower_id: 2 }]] },
  'all replies': { domains: ['reply'] },
  'all reactions': { domains: ['reaction'] },
};

/** The posts of a user with the author's name, declared as made of posts. */
const postsOf = (author: number): Promise<{ title: string; author: string }[]> =>
  cache.getOrSet(
    `user:${author}:posts`,
    async () => {
      const sql = 'SELECT title, name AS author FROM posts p JOIN users u ON u.id = p.author_id WHERE author_id = $1';
      return (await pool.query<{ title: string; author: string }>(sql, [author])).rows;
    },
    entries[`user:${author}:posts`]!,
  );

/** Cache all entries, do something, and tell which are void now. */
async function voidedBy(work: string | (() => Promise<unknown>)): Promise<string[]> {
  const keys = Object.keys(entries);
  const missing = async (): Promise<string[]> => {
    const there = await Promise.all(keys.map((key) => cache.exists(key)));
    return keys.filter((_, index) => !there[index]);
  };
  for (const key of keys) await cache.getOrSet(key, async () => key, entries[key]!);
  await cache.engine.drain();
  expect(await missing()).toEqual([]);
  await (typeof work === 'string' ? pool.query(work) : work());
  return missing();
}

/** The lines that Nest's logger gets meanwhile. */
async function logged(work: () => Promise<unknown>): Promise<string[]> {
  const lines: string[] = [];
  const spies = (['log', 'debug'] as const).map((level) =>
    jest.spyOn(Logger.prototype, level).mockImplementation((line: unknown) => void lines.push(String(line))),
  );
  try {
    await work();
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
  return lines;
}

describe('Overview', () => {
  it('The Cache Invalidation Problem', async () => {
    await postsOf(1);
    await cache.engine.drain();

    await pool.query(`UPDATE users SET name = 'Alice Smith' WHERE id = 1`);

    // Declared as made of posts, and no post was written: nothing says that posts show users.
    expect(await postsOf(1)).toEqual([{ title: 'one', author: 'Alice Johnson' }]);
  });

  it('The Solution', async () => {
    await cascade.setupAutoRules({ schema }); // once, at start
    await postsOf(1);
    await cache.engine.drain();

    await pool.query(`UPDATE users SET name = 'Alice Smith' WHERE id = 1`); // whoever does it, however

    expect(await postsOf(1)).toEqual([{ title: 'one', author: 'Alice Smith' }]);
  });
});

describe('How CASCADE Works', () => {
  it('Relationship Detection', async () => {
    const { graph } = await cascade.setupAutoRules({ schema });
    expect(graphToText(graph)).toBe(
      [
        'post', //
        ' └─> comment (post_id)',
        '',
        'user',
        ' ├─> comment (author_id)',
        ' └─> post (author_id)',
      ].join('\n'),
    );
  });

  it('Automatic Rule Creation', async () => {
    await cascade.setupAutoRules({ schema, bidirectional: true });
    const rules = (await cascade.getRules()).map(({ source, cascadeTo }) => `${source}: ${cascadeTo.join()}`);
    expect(rules).toEqual([
      'comment: post:id:{post_id}', // back to what is commented on
      'comment: user:id:{author_id}',
      'post: comment:post_id:{id}',
      'post: user:id:{author_id}', // the parent
      'user: comment:author_id:{id}',
      'user: post:author_id:{id}',
    ]);
  });
});

describe('Auto-Detection from Schema', () => {
  it('Setup at Application Startup', async () => {
    const lines: string[] = [];

    @Injectable()
    class Cascades implements OnApplicationBootstrap {
      constructor(
        private readonly cascade: CascadeService,
        private readonly graphql: GraphQLSchemaHost,
      ) {}
      async onApplicationBootstrap() {
        const log = (line: string) => void lines.push(line); // default: Nest's logger
        await this.cascade.setupAutoRules({ schema: this.graphql.schema, verbose: true, log });
      }
    }
    await startNest(database, {
      imports: [GraphQLModule.forRoot<ApolloDriverConfig>({ driver: ApolloDriver, typeDefs: schema, graphiql: false })],
      providers: [Cascades],
      options: { watch, tenancy: 'off' },
    });

    expect(lines).toEqual([
      'CASCADE: Analyzing GraphQL schema...',
      'CASCADE: Analyzing foreign keys...',
      'CASCADE: Detected relationship: Post -> Comment (field: comments)',
      'CASCADE: Detected relationship: User -> Comment (field: comments)',
      'CASCADE: Detected relationship: User -> Post (field: posts)',
      'CASCADE: Created 3 CASCADE rules',
      'CASCADE: Rule 1: post:{id} cascades to comment:post_id:{id}',
      'CASCADE: Rule 2: user:{id} cascades to comment:author_id:{id}',
      'CASCADE: Rule 3: user:{id} cascades to post:author_id:{id}',
      '✓ CASCADE rules configured',
    ]);
  });

  it('Schema Requirements', async () => {
    const clear = `type Query { a: ID } type User { id: ID! posts: [Post!]! } type Post { id: ID! author: User! }`;
    const ids = `type Query { a: ID } type User { id: ID! } type Post { id: ID! author_id: ID! }`;
    const edgesOf = async (text: string) =>
      (await cascade.setupAutoRules({ schema: text, foreignKeys: false })).graph.edges.length;

    expect(await edgesOf(clear)).toBe(1);
    expect(await edgesOf(ids)).toBe(0); // just an ID, not a relationship

    // Foreign keys tell what the schema does not say.
    const { rules } = await cascade.setupAutoRules({ schema: ids });
    expect(rules).toContainEqual({ source: 'user', cascadeTo: ['post:author_id:{id}'], name: 'auto' });
  });

  it('From TypeORM and Foreign Keys', async () => {
    const User = new EntitySchema<object>({
      name: 'User',
      tableName: 'users',
      columns: { id: { type: Number, primary: true } },
    });
    const Post = new EntitySchema<object>({
      name: 'Post',
      tableName: 'posts',
      columns: { id: { type: Number, primary: true } },
      relations: { author: { type: 'many-to-one', target: 'User', joinColumn: { name: 'author_id' } } },
    });
    const dataSource = new DataSource({ type: 'postgres', url: database.url, entities: [User, Post] });
    await dataSource.initialize();

    const { rules } = await setupAutoCascadeRules(cascade, { dataSource }); // the same as cascade.setupAutoRules

    expect(rules.map(({ source, cascadeTo }) => `${source}: ${cascadeTo.join()}`)).toEqual([
      'post: comment:post_id:{id}', // by the foreign key only
      'user: comment:author_id:{id}', // by the foreign key only
      'user: post:author_id:{id}', // by both
    ]);
    await dataSource.destroy();
  });
});

describe('Manual CASCADE Rules', () => {
  it("When Auto-Detection Isn't Enough", async () => {
    const rule: CascadeRule = {
      source: 'user',
      cascadeTo: [
        'post:author:{id}', // all posts by this user
        'user:{id}:followers', // the free tag of that text
        'feed:follower:*', // the feeds of all followers
      ],
    };
    await cascade.register([rule]);

    expect(await voidedBy(`UPDATE users SET name = 'Alice Smith' WHERE id = 1`)).toEqual([
      'user:1',
      'user:1:posts',
      'user:1:followers',
      'feed:2',
    ]);
  });
});

describe('Complex CASCADE Patterns', () => {
  it('Pattern 1: Multi-Level CASCADE', async () => {
    // Which comments are on posts of the user no column of a comment tells.
    const indirect = { source: 'user', cascadeTo: ['post:author:{id}', 'comment:post_author:{id}'] };
    await expect(cascade.register([indirect])).rejects.toThrow(
      "'comment' has no column 'post_author' or 'post_author_id'; it has 'id', 'post_id', 'author_id'. Rows that are reached over another domain follow from its own rules",
    );

    await cascade.register([
      { source: 'user', cascadeTo: ['post:author:{id}'] },
      { source: 'post', cascadeTo: ['comment:post:{id}'] },
    ]);
    // From the second level on rows are not told apart.
    expect(await voidedBy(`UPDATE users SET name = 'Alice Smith' WHERE id = 1`)).toEqual([
      'user:1',
      'user:1:posts',
      'user:1:comments',
      'user:2:comments',
    ]);
  });

  it('Pattern 2: Bidirectional CASCADE', async () => {
    await cascade.register([
      { source: 'user', cascadeTo: ['post:author:{id}'] },
      { source: 'post', cascadeTo: ['user:{author_id}'] }, // the author, by primary key
    ]);

    expect(await voidedBy(`UPDATE posts SET title = 'new' WHERE id = 1`)).toEqual(['user:1', 'user:1:posts']);
    expect(await voidedBy(`UPDATE users SET name = 'new' WHERE id = 1`)).toEqual(['user:1', 'user:1:posts']);
  });

  it('Pattern 3: Conditional CASCADE', async () => {
    const lambda = { source: 'post', cascadeTo: ['user:{author_id}'], condition: () => true };
    await expect(cascade.register([lambda as unknown as CascadeRule])).rejects.toThrow(
      "condition is a function, which the database's triggers cannot call; compare columns with values instead: write condition: { published: true }",
    );

    await cascade.register([{ source: 'post', cascadeTo: ['user:{author_id}'], condition: { published: true } }]);
    expect(await voidedBy(`UPDATE posts SET title = 'new' WHERE id = 1`)).toEqual(['user:1', 'user:1:posts']);
    expect(await voidedBy(`UPDATE posts SET title = 'new' WHERE id = 2`)).toEqual(['user:2:posts']); // a draft
  });
});

describe('Performance Considerations', () => {
  it('CASCADE Overhead', async () => {
    await cascade.register([{ source: 'user', cascadeTo: ['post:author:{id}', 'comment:author:{id}'] }]);

    const { rows } = await pool.query(
      `EXPLAIN (ANALYZE, FORMAT JSON) UPDATE users SET name = 'Alice Smith' WHERE id = 1`,
    );
    const triggers: { 'Trigger Name': string; Time: number }[] = rows[0]['QUERY PLAN'][0].Triggers;
    expect(triggers).toContainEqual(
      expect.objectContaining({ 'Trigger Name': 'fraiseql_cache_update', Time: expect.any(Number) }), // milliseconds
    );
  });
});

describe('Optimizing CASCADE', () => {
  it('1. Limit CASCADE Depth', async () => {
    const user = { source: 'user', cascadeTo: ['post:author:{id}'] };
    await cascade.register([
      user,
      { source: 'post', cascadeTo: ['comment:post:{id}'] },
      { source: 'comment', cascadeTo: ['reply'] },
      { source: 'reply', cascadeTo: ['reaction'] },
    ]);
    const rename = `UPDATE users SET name = 'Alice Smith' WHERE id = 1`;
    const near = ['user:1', 'user:1:posts', 'user:1:comments', 'user:2:comments'];
    expect(await voidedBy(rename)).toEqual([...near, 'all replies', 'all reactions']); // four levels

    await cascade.register([{ ...user, maxDepth: 2 }]);
    expect(await voidedBy(rename)).toEqual(near);
  });

  it('2. Use Selective CASCADE', async () => {
    await expect(cascade.register([{ source: 'user', cascadeTo: ['*'] }])).rejects.toThrow(
      "cascadeTo '*' would make everything void; name the domains: cascadeTo: ['post', 'comment']",
    );

    await cascade.register([{ source: 'user', cascadeTo: ['post:author:{id}', 'comment:author:{id}'] }]);
    expect(await voidedBy(`UPDATE users SET name = 'Alice Smith' WHERE id = 1`)).toEqual([
      'user:1',
      'user:1:posts',
      'user:1:comments',
    ]);
  });

  it('3. Batch CASCADE Operations', async () => {
    await cascade.register([{ source: 'user', cascadeTo: ['post:author:{id}'] }]);

    const voided = await voidedBy(() => cascade.invalidateBatch([1, 2].map((id) => `user:${id}`))); // one statement
    expect(voided).toEqual(['user:1', 'user:2', 'user:1:posts', 'user:2:posts']);
  });

  it('Monitoring CASCADE Performance', async () => {
    const { app } = await startNest(database, {
      imports: [CacheHealthModule.forRoot({ maxCascadeMs: 10 })], // the default
      options: { watch, tenancy: 'off' },
    });
    await cascade.register([{ source: 'user', cascadeTo: ['post:author:{id}'] }]);
    const client = await pool.connect();
    await client.query(`SET track_functions = 'pl'`); // for all: in postgresql.conf
    await client.query(`UPDATE users SET name = 'Alice Smith' WHERE id = 1`);
    await client.query('SELECT pg_stat_force_next_flush()');
    client.release(true);

    // In milliseconds, of all writers; over maxCascadeMs the check reports the cache as degraded.
    expect((await cascade.getStats()).avgCascadeTimeMs).toBeGreaterThan(0);
    expect((await app.get(CacheHealthIndicator).isHealthy('cache'))['cache']?.status).toBe('up');
  });
});

describe('Advanced Patterns', () => {
  beforeEach(() => cascade.register([{ source: 'user', cascadeTo: ['post:author:{id}'] }]));

  it('Pattern 1: Lazy CASCADE', async () => {
    expect(await voidedBy(() => cascade.invalidate('user:1'))).toEqual(['user:1', 'user:1:posts']); // now

    expect(await voidedBy(() => cascade.invalidateLazy('user:1', 5))).toEqual([]); // in five seconds, with what else is due
    await cascade.flush(); // or at once; an application that shuts down does so
    expect(await cache.exists('user:1:posts')).toBe(false);
  });

  it('Pattern 2: Partial CASCADE', async () => {
    const read = async (key: string, tags: string[]) => cache.getOrSet(key, async () => key, { tags });
    const fields = { title: fieldTags('post', 1, 'title'), author: fieldTags('post', 1, 'author.name') };
    const cached = async () => {
      await cache.engine.drain();
      return { title: await cache.exists('title'), author: await cache.exists('author') };
    };
    await read('title', fields.title);
    await read('author', fields.author);

    await cascade.invalidateField('post:1', 'title'); // of one post
    expect(await cached()).toEqual({ title: false, author: true });

    await read('title', fields.title);
    await cascade.invalidateField('post:*', 'author.name'); // of any post
    expect(await cached()).toEqual({ title: true, author: false });
  });

  it('Pattern 3: Smart CASCADE', async () => {
    // The database compares old and new rows; posts do not show passwords.
    await cascade.register([{ source: 'user', cascadeTo: ['post:author:{id}'], columns: ['email'] }]);

    expect(await voidedBy(`UPDATE users SET password = 'new' WHERE id = 1`)).toEqual(['user:1']);
    expect(await voidedBy(`UPDATE users SET email = 'new@example.com' WHERE id = 1`)).toEqual([
      'user:1',
      'user:1:posts',
    ]);
  });
});

describe('Monitoring CASCADE', () => {
  beforeEach(() => cascade.register([{ source: 'user', cascadeTo: ['post:author:{id}'] }]));

  it('CASCADE Metrics', async () => {
    await pool.query(`UPDATE users SET name = 'Alice Smith' WHERE id = 1`);

    const stats = await cascade.getStats();
    expect(stats).toEqual({
      totalInvalidations24h: expect.any(Number),
      cascadeTriggered: expect.any(Number),
      avgCascadeDepth: expect.any(Number),
      avgCascadeTimeMs: expect.any(Number),
      mostFrequentCascades: expect.arrayContaining([{ pattern: 'user -> post', count: expect.any(Number) }]),
    });
  });

  it('CASCADE Visualization', async () => {
    await cascade.register([
      { source: 'user', cascadeTo: ['comment:author:{id}', 'user:{id}:followers'] },
      { source: 'post', cascadeTo: ['comment:post:{id}'] },
    ]);
    let text = '';
    await voidedBy(async () => ({ text } = await cascade.getGraph('user:1'))); // with everything cached
    expect(text).toBe(
      [
        'user:1',
        ' ├─> comment:author:{id} (2 entries)',
        ' ├─> post:author:{id} (1 entry)',
        ' │    └─> comment:post:{id} (2 entries)',
        ' └─> user:{id}:followers (1 entry)',
      ].join('\n'),
    );
    expect((await cascade.getGraph()).mermaid).toContain('graph LR'); // for a page
  });

  it('Debugging CASCADE', async () => {
    cascade.setLogging({ enabled: true, level: 'DEBUG' });
    const lines = await logged(() => voidedBy(() => cascade.invalidate('user:1')));
    cascade.setLogging({ enabled: false });

    expect(lines).toEqual([
      '[CASCADE] user:1 changed',
      '[CASCADE] → Evaluating rule: user -> post:author:{id}',
      '[CASCADE] → Matched 1 entry: post',
      expect.stringMatching(/^\[CASCADE\] ✓ CASCADE complete in [\d.]+ms$/),
    ]);
  });
});

describe('Integration with CQRS', () => {
  it('CASCADE in CQRS Pattern', async () => {
    await pool.query(`
      CREATE TABLE tb_user (id int PRIMARY KEY, name text);
      CREATE TABLE tv_user (id int PRIMARY KEY, name text);
      CREATE VIEW v_user AS SELECT id, name FROM tb_user;
      INSERT INTO tb_user VALUES (1, 'Alice Johnson');
      SELECT fraiseql_cache.watch('tv_user', 'user_view')`);
    await cascade.register([{ source: 'user_view', cascadeTo: ['post:author:{id}'] }]);
    const sync = createSync(pool, { user: { table: 'tv_user', from: 'v_user', key: 'id' } });
    await sync.user([1]);

    // Command side.
    expect(await voidedBy(`UPDATE tb_user SET name = 'Alice Smith' WHERE id = 1`)).toEqual([]);
    // Explicit sync to the query side: there it cascades.
    expect(await voidedBy(() => sync.user([1]))).toEqual(['user:1:posts']);
    // Nothing has changed since, so nothing is written.
    expect(await voidedBy(() => sync.user([1]))).toEqual([]);
  });
});

describe('Troubleshooting', () => {
  it('CASCADE Not Triggering', async () => {
    await cascade.register([{ source: 'user', cascadeTo: ['post:author:{id}'] }]);
    expect(await cascade.getRules()).toEqual([{ source: 'user', cascadeTo: ['post:author:{id}'] }]);

    // A name that is no domain is an error, and does not pass in silence.
    await expect(cascade.invalidate('users:1')).rejects.toThrow(
      "'users' is no domain that a watched table feeds; there are 'comment', 'feed', 'post'",
    );

    // A source whose triggers are off is not trusted: what it cascades to is not cached.
    await pool.query('ALTER TABLE users DISABLE TRIGGER fraiseql_cache_update');
    await cache.purge(); // looks again, as every scheduled purge does
    expect(await cache.engine.domainProblem('post')).toContain('writes to the domain "user" cascade here');
    await pool.query('ALTER TABLE users ENABLE ALWAYS TRIGGER fraiseql_cache_update');
    await cache.purge();
    expect(await cache.engine.domainProblem('post')).toBeNull();
  });

  it('Too Many Invalidations', async () => {
    const rename = `UPDATE users SET name = 'Alice Smith' WHERE id = 1`;
    await cascade.register([{ source: 'user', cascadeTo: ['post'], name: 'posts' }]); // too broad: any post
    expect(await voidedBy(rename)).toEqual(['user:1', 'user:1:posts', 'user:2:posts']);

    // In one transaction the narrower rule takes its place: those of the user, two levels at most, only for the name.
    await cascade.register(
      [{ source: 'user', cascadeTo: ['post:author:{id}'], maxDepth: 2, columns: ['name'], name: 'posts' }],
      { replace: 'posts' },
    );
    expect(await voidedBy(rename)).toEqual(['user:1']); // it is the name already
    expect(await voidedBy(`UPDATE users SET name = 'Alice' WHERE id = 1`)).toEqual(['user:1', 'user:1:posts']);
  });
});

describe('Best Practices', () => {
  it('1. Start with Auto-Detection', async () => {
    await cascade.setupAutoRules({ schema });
    await cascade.register([{ source: 'user', cascadeTo: ['user:{id}:followers'] }]); // then what it cannot know

    expect((await cascade.getRules()).map(({ name = 'by hand' }) => name)).toEqual(['auto', 'auto', 'auto', 'by hand']);
  });

  it('2. Monitor CASCADE Performance', async () => {
    await cascade.invalidate('user:1');

    const { avgCascadeTimeMs } = await cascade.getStats();
    if (avgCascadeTimeMs !== null && avgCascadeTimeMs > 10) new Logger('App').warn('CASCADE is slow, review the rules');
    expect(avgCascadeTimeMs).toBeGreaterThan(0);
  });

  it('3. Use Selective CASCADE', async () => {
    await cascade.register([{ source: 'user', cascadeTo: ['post:author:{id}', 'comment:author:{id}'] }]);
    // What is Bob's, and nothing of Alice's.
    expect(await voidedBy(`UPDATE users SET name = 'Robert' WHERE id = 2`)).toEqual([
      'user:2',
      'user:2:posts',
      'user:2:comments',
    ]);
  });

  it('4. Test CASCADE Rules', async () => {
    await cascade.register([{ source: 'user', cascadeTo: ['post:author:{id}'] }]);
    await postsOf(1);
    await cache.engine.drain(); // until it is stored
    expect(await cache.exists('user:1:posts')).toBe(true);

    await pool.query(`UPDATE users SET name = 'New Name' WHERE id = 1`);

    expect(await cache.exists('user:1:posts')).toBe(false);
  });
});
