import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { CacheService } from 'nestjs-result-cache';
import request from 'supertest';
import { BlogFixture } from './blog.fixture.js';

const HIT = /^default; hit; ttl=\d+; detail="(memory|postgres|memory\+postgres|postgres\+memory)"$/;

let blog: BlogFixture;
beforeAll(async () => {
  blog = await BlogFixture.start();
});
afterAll(() => blog?.stop());
beforeEach(() => blog.app.get(CacheService).invalidateDomains('user', 'post', 'comment'));

interface Answer {
  text: string;
  /** `Cache-Status`. */
  cache: string;
}

/** Ask over GraphQL, or over REST if it is a path. What it computes is stored when this resolves. */
async function ask(what: string, tenant = 'acme'): Promise<Answer> {
  const { status, text, headers } = await (what.startsWith('/') ? blog.get(what, tenant) : blog.post(what, tenant));
  if (status !== 200 || text.includes('"errors"')) throw new Error(`${what} failed with ${status}: ${text}`);
  await blog.stored();
  return { text, cache: String(headers['cache-status']) };
}

/** Ask until it is a hit, which must be the second time. */
async function askUntilHit(what: string, tenant?: string): Promise<Answer> {
  const first = await ask(what, tenant);
  const second = await ask(what, tenant);
  expect([second.cache, second.text]).toEqual([expect.stringMatching(HIT), first.text]);
  return second;
}

const DASHBOARD = `{ dashboard { totalUsers totalPosts totalComments averagePostLength postsLast24h
  topAuthors { id name postCount commentCount } } }`;
const POSTS = '{ posts(limit: 3) { id title createdAt author { name } comments(limit: 2) { body author { name } } } }';

describe('every query is a miss and then a hit with the same answer', () => {
  it.each([
    '{ users { id name email role createdAt } }',
    '{ users(limit: 2, offset: 3) { id } }',
    '{ user(id: 1) { id name createdAt posts(limit: 2) { title createdAt } } }',
    '{ user(id: 999999) { id } }',
    POSTS,
    '{ posts(authorId: 3, limit: 5) { id createdAt } }',
    '{ posts(authorId: 999999) { id } }',
    DASHBOARD,
    '/posts',
    '/posts?limit=100',
    '/posts?authorId=3&limit=2&offset=1',
    '/users/1',
    '{ post(id: 3) { title author { name createdAt } comments(limit: 2) { body } } }',
    '{ post(id: 999999) { id } }',
    '/posts/3',
  ])('%s', async (what) => {
    const miss = await ask(what);
    expect(miss.cache).toMatch(/^default; fwd=miss; detail="\d+ of \d+ hit/);
    const hit = await ask(what);
    expect(hit.cache).toMatch(HIT);
    expect(hit.text).toBe(miss.text);
  });

  it('over GraphQL and REST alike, and the two share what they read', async () => {
    await ask('{ posts(limit: 4) { id } }');
    expect((await ask('/posts?limit=4')).cache).toMatch(HIT);
  });
});

const AUTHOR_OF_3 = '(SELECT author_id FROM posts WHERE id = 3)';

describe('a row changed with plain SQL is seen by the very next request', () => {
  // At the top of every first page, whatever else is written here.
  const newest = '(SELECT max(id) FROM posts WHERE author_id = 5)';
  const firstComment = `(SELECT min(id) FROM comments WHERE post_id = ${newest})`;
  const post = `INSERT INTO posts (tenant_id, author_id, title, content) VALUES ('acme', 2, '%', 'C')`;

  beforeAll(async () => {
    await blog.sql(`INSERT INTO posts (tenant_id, author_id, title, content, created_at)
      VALUES ('acme', 5, 'Newest', 'C', now() + interval '1 hour')`);
    await blog.sql(`INSERT INTO comments (tenant_id, post_id, author_id, body)
      VALUES ('acme', ${newest}, 5, 'One'), ('acme', ${newest}, 5, 'Two')`);
  });

  // `%` stands for a text that was never seen before.
  it.each([
    ['users', '{ users { name } }', `UPDATE users SET name = '%' WHERE id = 4`],
    ['users.email', '{ users { email } }', `UPDATE users SET email = '%' WHERE id = 4`],
    [
      'a new user among users',
      '{ users { name } }',
      `INSERT INTO users (tenant_id, name, email) VALUES ('acme', '%', '%@x')`,
    ],
    ['user', '{ user(id: 3) { name } }', `UPDATE users SET name = '%' WHERE id = 3`],
    [
      'a user that was not there',
      '{ user(id: 777) { name } }',
      `INSERT INTO users (id, tenant_id, name, email) VALUES (777, 'acme', '%', '%@y')`,
    ],
    ['user.posts', '{ user(id: 2) { posts(limit: 1) { title } } }', post],
    ['posts', '{ posts { title } }', post],
    ['posts.title', '{ posts(limit: 1) { title } }', `UPDATE posts SET title = '%' WHERE id = ${newest}`],
    ['posts of an author', '{ posts(authorId: 2) { title } }', post],
    [
      'posts of an author who got another’s',
      '{ posts(authorId: 6, limit: 100) { title } }',
      `UPDATE posts SET author_id = 6, title = '%' WHERE id = (SELECT min(id) FROM posts WHERE author_id = 7)`,
    ],
    [
      'posts.author',
      '{ posts { author { name } } }',
      `UPDATE users SET name = '%' WHERE id = (SELECT author_id FROM posts WHERE id = ${newest})`,
    ],
    [
      'posts.comments',
      '{ posts(limit: 1) { comments(limit: 100) { body } } }',
      `UPDATE comments SET body = '%' WHERE id = ${firstComment}`,
    ],
    [
      'a new comment among posts.comments',
      '{ posts(limit: 1) { comments(limit: 100) { body } } }',
      `INSERT INTO comments (tenant_id, post_id, author_id, body) VALUES ('acme', ${newest}, 1, '%')`,
    ],
    [
      'posts.comments.author',
      '{ posts(limit: 1) { comments(limit: 100) { author { name } } } }',
      `UPDATE users SET name = '%' WHERE id = (SELECT author_id FROM comments WHERE id = ${firstComment})`,
    ],
    ['dashboard.topAuthors', '{ dashboard { topAuthors { name } } }', `UPDATE users SET name = '%' WHERE id = 1`],
    ['GET /posts', '/posts', post],
    ['GET /posts of an author', '/posts?authorId=2', post],
    ['post.author', '{ post(id: 3) { author { name } } }', `UPDATE users SET name = '%' WHERE id = ${AUTHOR_OF_3}`],
    ['GET /posts/:id', '/posts/3', `UPDATE posts SET title = '%' WHERE id = 3`],
    ['the author of GET /posts/:id', '/posts/3', `UPDATE users SET name = '%' WHERE id = ${AUTHOR_OF_3}`],
    [
      'another author of GET /posts/:id',
      '/posts/3',
      `WITH u AS (UPDATE users SET name = '%' WHERE id = 9 RETURNING id) UPDATE posts SET author_id = 9 WHERE id = 3`,
    ],
    ['GET /users/:id', '/users/3', `UPDATE users SET name = '%' WHERE id = 3`],
  ])('%s', async (_, what, sql) => {
    const marker = `marker ${expect.getState().currentTestName!.length} ${what.length} ${sql.length}`;
    const before = await askUntilHit(what);
    await blog.sql(sql.replaceAll('%', marker));
    const after = await ask(what);
    expect(before.text).not.toContain(marker);
    expect(after.text).toContain(marker);
    expect(after.cache).toContain('fwd=miss');
  });

  it.each([
    ['totalUsers', 1, `INSERT INTO users (tenant_id, name, email) VALUES ('acme', 'New', 'new@total')`],
    ['totalPosts', 1, `INSERT INTO posts (tenant_id, author_id, title, content) VALUES ('acme', 1, 'T', 'C')`],
    ['totalComments', -1, `DELETE FROM comments WHERE id = ${firstComment}`],
    ['postsLast24h', 1, `INSERT INTO posts (tenant_id, author_id, title, content) VALUES ('acme', 1, 'T', 'C')`],
  ])('dashboard.%s', async (field, difference, sql) => {
    const before = JSON.parse((await askUntilHit(DASHBOARD)).text);
    await blog.sql(sql);
    const after = JSON.parse((await ask(DASHBOARD)).text);
    expect(after.data.dashboard[field]).toBe(before.data.dashboard[field] + difference);
  });

  it('also where it is gone', async () => {
    const [{ id }] = await blog.sql<[{ id: number }]>(
      `INSERT INTO posts (tenant_id, author_id, title, content, created_at) VALUES ('acme', 8, 'Doomed', 'C', now() + interval '1 day') RETURNING id`,
    );
    await blog.sql(`INSERT INTO comments (tenant_id, post_id, author_id, body) VALUES ('acme', $1, 8, 'Me too')`, [id]);
    const whats = [
      '{ posts(limit: 2) { title comments { body } } }',
      '/posts?authorId=8',
      '{ user(id: 8) { posts { title } } }',
    ];
    for (const what of whats) expect((await askUntilHit(what)).text).toContain('Doomed');
    const { data } = JSON.parse((await askUntilHit(DASHBOARD)).text);
    await blog.sql('DELETE FROM posts WHERE id = $1', [id]);
    for (const what of whats) expect((await ask(what)).text).not.toMatch(/Doomed|Me too/);
    // The comment went by the foreign key, with no statement of its own.
    const later = JSON.parse((await ask(DASHBOARD)).text).data;
    expect(later.dashboard.totalComments).toBe(data.dashboard.totalComments - 1);
  });

  it('and a change that is rolled back is not', async () => {
    const before = await askUntilHit('/users/3');
    await blog.sql(
      `DO $$ BEGIN UPDATE users SET name = 'Nobody' WHERE id = 3; RAISE 'no'; EXCEPTION WHEN raise_exception THEN END $$`,
    );
    expect((await ask('/users/3')).text).toBe(before.text);
  });
});

describe('a change leaves alone what does not depend on it', () => {
  it.each([
    ['another user', '{ user(id: 1) { name } }', `UPDATE users SET name = name WHERE id = 2`],
    ['a post of another author', '/posts?authorId=3', `UPDATE posts SET title = title WHERE author_id = 1`],
    ['a post of another tenant', '/posts', `UPDATE posts SET title = title WHERE id = 300`],
    ['a comment', POSTS.replace(/comments.*/, '} }'), `UPDATE comments SET body = body WHERE id = 1`],
  ])('%s', async (_, what, sql) => {
    await askUntilHit(what);
    await blog.sql(sql);
    expect((await ask(what)).cache).toMatch(HIT);
  });
});

describe('tenants', () => {
  it.each(['{ users { tenantId } }', '{ posts { tenantId author { tenantId } } }', '/posts'])(
    'get their own on hits too: %s',
    async (what) => {
      for (const tenant of ['acme', 'globex', 'initech']) {
        expect((await ask(what, tenant)).cache).toContain('fwd=miss; detail="0 of ');
      }
      for (const tenant of ['acme', 'globex', 'initech']) {
        const { text, cache } = await ask(what, tenant);
        expect(cache).toMatch(HIT);
        expect(new Set(text.match(/(?<="tenantId":")\w+/g))).toEqual(new Set([tenant]));
      }
    },
  );

  it('do not find each other’s rows by id, on hits either', async () => {
    expect((await askUntilHit('{ user(id: 1) { id } }', 'acme')).text).toContain('"id":"1"');
    expect((await askUntilHit('{ user(id: 1) { id } }', 'globex')).text).toContain('"user":null');
    expect((await blog.get('/users/1', 'globex')).status).toBe(404);
    expect((await askUntilHit('/posts?authorId=1', 'globex')).text).toBe('[]');
    expect((await askUntilHit('{ post(id: 1) { id } }', 'acme')).text).toContain('"id":"1"');
    expect((await askUntilHit('{ post(id: 1) { id } }', 'globex')).text).toContain('"post":null');
    expect((await blog.get('/posts/1', 'globex')).status).toBe(404);
  });

  it('that are unknown or missing get a 400, and nothing is read or cached', async () => {
    const { engine } = blog.app.get(CacheService);
    const entries = 'SELECT cache_key, cached_at FROM fraiseql_cache.fraiseql_cache ORDER BY 1';
    await askUntilHit('/posts');
    const before = [await blog.sql(entries), engine.counters()];
    for (const tenant of ['umbrella', undefined]) {
      for (const path of ['/posts', '/users/1', '/graphql?query={users{id}}', '/nothing']) {
        const response = await blog.get(path, tenant);
        expect([response.status, response.headers['cache-status']]).toEqual([400, undefined]);
      }
      expect((await blog.post(POSTS, tenant)).status).toBe(400);
    }
    await blog.stored();
    expect([await blog.sql(entries), engine.counters()]).toEqual(before);
  });
});

it('a change through the API is seen at once wherever the user appears', async () => {
  const whats = [
    '{ users { name } }',
    '{ user(id: 1) { name } }',
    '{ posts(authorId: 1, limit: 2) { author { name } } }',
    '{ dashboard { topAuthors { name } } }',
    '/users/1',
  ];
  for (const what of whats) await askUntilHit(what);
  const { updateUser } = await blog.data('mutation { updateUser(id: 1, name: "Seen At Once") { name } }');
  expect(updateUser).toEqual({ name: 'Seen At Once' });
  for (const what of whats) expect((await ask(what)).text).toContain('Seen At Once');
});

it('a created post is on the first page at once, and a deleted one is not', async () => {
  await askUntilHit('{ posts(limit: 7) { title } }');
  const { createPost } = await blog.data('mutation { createPost(authorId: 1, title: "Hot", content: "C") { id } }');
  await blog.sql(`UPDATE posts SET created_at = now() + interval '2 days' WHERE id = $1`, [createPost.id]);
  expect((await askUntilHit('{ posts(limit: 7) { title } }')).text).toContain('Hot');
  await blog.data(`mutation { deletePost(id: ${createPost.id}) }`);
  expect((await ask('{ posts(limit: 7) { title } }')).text).not.toContain('Hot');
});

describe('entities come out of the cache as what they were', () => {
  it.each(['the process that computed them', 'a process that did not'])('in %s', async (process) => {
    const [row] = await blog.sql('SELECT created_at, password_hash FROM users WHERE id = 1');
    for (const what of ['/users/1', '{ user(id: 1) { createdAt } }', '/posts?limit=1']) await askUntilHit(what);
    const other = process.startsWith('a') ? await blog.anotherApp() : undefined;
    try {
      const server = (other ?? blog.app).getHttpServer();
      const rest = await request(server).get('/users/1').set('x-tenant-id', 'acme');
      const query = { query: '{ user(id: 1) { createdAt } }' };
      const graphql = await request(server).post('/graphql').set('x-tenant-id', 'acme').send(query);
      const posts = await request(server).get('/posts?limit=1').set('x-tenant-id', 'acme');
      for (const { headers } of [rest, graphql, posts]) expect(headers['cache-status']).toMatch(HIT);
      // @Exclude() acts on instances of the class only, DateTime takes nothing but a Date.
      expect(Object.keys(rest.body as object).sort()).toEqual('createdAt email id name role tenantId'.split(' '));
      expect(row!['password_hash']).toEqual(expect.any(String));
      expect(rest.text).not.toContain(row!['password_hash']);
      expect(graphql.body).toEqual({ data: { user: { createdAt: row!['created_at'].toISOString() } } });
    } finally {
      await other?.close();
    }
  });
});

it('serves the figure that moves with the clock for 30 seconds at most', async () => {
  const { cache } = await askUntilHit('{ dashboard { postsLast24h } }');
  expect(Number(/ttl=(\d+)/.exec(cache)![1])).toBeLessThanOrEqual(30);
  const [{ seconds }] = await blog.sql<[{ seconds: number }]>(
    `SELECT extract(epoch FROM expires_at - now())::float8 AS seconds FROM fraiseql_cache.fraiseql_cache
      WHERE view_name = 'DashboardService.summary' AND tenant_id = 'acme'`,
  );
  expect(seconds).toBeGreaterThan(500);
});

describe('operations', () => {
  it('/health knows the database and the cache', async () => {
    const { status, body } = await blog.get('/health');
    expect([status, body.status]).toEqual([200, 'ok']);
    expect(body.details).toMatchObject({
      database: { status: 'up' },
      cache: { status: 'up', caches: { default: { available: true } } },
    });
  });

  it('/metrics has the hits, misses, times and sizes', async () => {
    await askUntilHit('/users/1');
    const { status, text } = await blog.get('/metrics');
    expect(status).toBe(200);
    expect(text).toMatch(/^fraiseql_cache_hits_total\{.*view_name="typeorm\.User\.findOne".*\} [1-9]/m);
    expect(text).toMatch(/^fraiseql_cache_misses_total\{.*view_name="typeorm\.User\.findOne".*\} [1-9]/m);
    expect(text).toMatch(/^fraiseql_cache_get_duration_seconds_bucket\{/m);
    expect(text).toMatch(/^fraiseql_cache_entries_total\{.*\} [1-9]/m);
    expect(text).not.toMatch(/acme|globex/);
  });

  it('/cache/stats counts', async () => {
    const before = (await blog.get('/cache/stats')).body;
    await askUntilHit('/users/1');
    const after = (await blog.get('/cache/stats')).body;
    expect(after).toMatchObject({ hits: before.hits + 1, misses: before.misses + 1, totalEntries: expect.any(Number) });
    expect(after.totalEntries).toBeGreaterThan(0);
  });
});
