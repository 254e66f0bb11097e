import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { BlogFixture } from './blog.fixture.js';

let blog: BlogFixture;
beforeAll(async () => {
  blog = await BlogFixture.start();
});
afterAll(() => blog?.stop());

describe('tenant', () => {
  const missing = /no tenant: send the header x-tenant-id with one of acme, globex, initech/;

  it.each(['/posts', '/users/1', '/graphql?query={users{id}}'])('is asked for by GET %s', async (path) => {
    const response = await blog.get(path);
    expect([response.status, response.body.message]).toEqual([400, expect.stringMatching(missing)]);
  });

  it('is asked for by POST /graphql', async () => {
    const response = await blog.post('{ users { id } }');
    expect([response.status, response.body.message]).toEqual([400, expect.stringMatching(missing)]);
  });

  it('is asked for by routes that do not exist, and by an empty header', async () => {
    for (const response of [await blog.get('/nothing'), await blog.get('/posts', '')]) {
      expect([response.status, response.body.message]).toEqual([400, expect.stringMatching(missing)]);
    }
    expect((await blog.get('/nothing', 'acme')).status).toBe(404);
  });

  it.each(['umbrella', 'ACME', 'acme, globex', '%', "'; DROP TABLE users; --"])('is not %j', async (tenant) => {
    for (const test of [blog.get('/posts', tenant), blog.post('{ users { id } }', tenant)]) {
      const response = await test;
      expect([response.status, response.body.message]).toEqual([
        400,
        expect.stringMatching(/^unknown tenant: send the header x-tenant-id with one of acme/),
      ]);
    }
  });

  it.each(['/health', '/metrics', '/cache/stats'])('is not asked for by %s, which is for operators', async (path) => {
    expect((await blog.get(path)).status).toBe(200);
  });

  it('stays with its own request when many run at once', async () => {
    const tenants = Array.from({ length: 30 }, (_, i) => ['acme', 'globex', 'initech'][i % 3]!);
    const answers = await Promise.all(tenants.map((tenant) => blog.data('{ users(limit: 3) { tenantId } }', tenant)));
    expect(answers).toEqual(tenants.map((tenantId) => ({ users: [{ tenantId }, { tenantId }, { tenantId }] })));
  });
});

describe('users', () => {
  it('come in pages, by id', async () => {
    const { users } = await blog.data('{ users(limit: 2, offset: 1) { id tenantId role email } }');
    expect(users).toEqual([
      { id: '2', tenantId: 'acme', role: 'reader', email: expect.stringMatching(/^\w+\.\w+\.2@acme\.example$/) },
      { id: '3', tenantId: 'acme', role: 'reader', email: expect.stringMatching(/^\w+\.\w+\.3@acme\.example$/) },
    ]);
    expect((await blog.data('{ users { id } }', 'globex'))['users'][0]).toEqual({ id: '11' });
  });

  it('come 20 at a time unless said otherwise', async () => {
    const rows = `SELECT 'acme', 'Extra', 'extra' || i || '@acme.example' FROM generate_series(1, 15) AS i`;
    await blog.sql(`INSERT INTO users (tenant_id, name, email) ${rows}`);
    for (const query of ['{ users { id } }', '{ users(limit: null, offset: null) { id } }']) {
      expect((await blog.data(query))['users']).toHaveLength(20);
    }
    await blog.sql(`DELETE FROM users WHERE name = 'Extra'`);
  });

  it('are found by id, with their posts, newest first, and dates in ISO format', async () => {
    const { user } = await blog.data('{ user(id: 1) { id createdAt posts(limit: 3) { authorId createdAt } } }');
    const [row] = await blog.sql('SELECT created_at FROM users WHERE id = 1');
    expect(user).toMatchObject({ id: '1', createdAt: row!['created_at'].toISOString() });
    const dates: string[] = user.posts.map((post: { createdAt: string }) => post.createdAt);
    expect(dates).toEqual([...dates].sort().reverse());
    expect(user.posts.map((post: { authorId: string }) => post.authorId)).toEqual(['1', '1', '1']);
  });

  it('do not exist for another tenant', async () => {
    expect(await blog.data('{ user(id: 1) { id } }', 'globex')).toEqual({ user: null });
    expect((await blog.get('/users/1', 'globex')).status).toBe(404);
    expect(await blog.failure('mutation { updateUser(id: 1, name: "Eve") { id } }', 'globex')).toBe(
      'NOT_FOUND there is no user 1',
    );
    expect(await blog.sql('SELECT FROM users WHERE id = 1 AND name = $1', ['Eve'])).toEqual([]);
  });

  it('are created as readers without a password', async () => {
    const { createUser } = await blog.data(
      'mutation { createUser(name: " Ada ", email: "ada@acme.example") { id name role tenantId createdAt } }',
    );
    expect(createUser).toMatchObject({ name: 'Ada', role: 'reader', tenantId: 'acme' });
    expect(Date.now() - Date.parse(createUser.createdAt)).toBeLessThan(60_000);
    expect(await blog.sql('SELECT password_hash FROM users WHERE id = $1', [createUser.id])).toEqual([
      { password_hash: null },
    ]);
  });

  it('have an email address of their own within the tenant', async () => {
    const mutation = 'mutation { createUser(name: "Bob", email: "bob@example.com") { tenantId } }';
    await blog.data(mutation);
    expect(await blog.failure(mutation)).toBe('CONFLICT there is already a user with the email bob@example.com');
    expect(await blog.data(mutation, 'globex')).toEqual({ createUser: { tenantId: 'globex' } });
  });

  it('are renamed', async () => {
    expect(await blog.data('mutation { updateUser(id: 2, name: "Zoë") { id name } }')).toEqual({
      updateUser: { id: '2', name: 'Zoë' },
    });
    expect((await blog.get('/users/2', 'acme')).body.name).toBe('Zoë');
    expect(await blog.failure('mutation { updateUser(id: 999999, name: "Eve") { id } }')).toMatch(/^NOT_FOUND/);
  });

  it('never show the password hash', async () => {
    expect(await blog.sql('SELECT FROM users WHERE id = 1 AND password_hash IS NOT NULL')).toHaveLength(1);
    const response = await blog.get('/users/1', 'acme');
    expect(Object.keys(response.body as object).sort()).toEqual([
      'createdAt',
      'email',
      'id',
      'name',
      'role',
      'tenantId',
    ]);
    expect(await blog.failure('{ user(id: 1) { passwordHash } }')).toMatch(/Cannot query field "passwordHash"/);
  });

  it('are 404 when unknown and 400 when the id is none', async () => {
    expect((await blog.get('/users/999999', 'acme')).status).toBe(404);
    const response = await blog.get('/users/one', 'acme');
    expect([response.status, response.body.message]).toEqual([
      400,
      'id: "one" is not a whole number from 1 to 2147483647',
    ]);
  });
});

describe('posts', () => {
  it('come in pages, newest first, the same over GraphQL and REST', async () => {
    const { posts } = await blog.data(
      '{ posts(limit: 5, offset: 2) { id authorId title content published createdAt } }',
    );
    const rest = await blog.get('/posts?limit=5&offset=2', 'acme');
    expect(posts).toHaveLength(5);
    expect(rest.body).toEqual(
      posts.map((post: { id: string; authorId: string }) => ({
        ...post,
        id: Number(post.id),
        authorId: Number(post.authorId),
        tenantId: 'acme',
      })),
    );
    const rows = await blog.sql(
      `SELECT id::text FROM posts WHERE tenant_id = 'acme' ORDER BY created_at DESC, id DESC LIMIT 5 OFFSET 2`,
    );
    expect(posts.map(({ id }: { id: string }) => ({ id }))).toEqual(rows);
  });

  it('come 20 at a time unless said otherwise', async () => {
    expect((await blog.data('{ posts { id } }'))['posts']).toHaveLength(20);
    expect((await blog.get('/posts', 'acme')).body).toHaveLength(20);
  });

  it('can be those of one author', async () => {
    const [{ count }] = await blog.sql<[{ count: number }]>('SELECT count(*)::int FROM posts WHERE author_id = 3');
    const { posts } = await blog.data('{ posts(authorId: 3, limit: 100) { author { id } } }');
    expect(posts).toEqual(Array.from({ length: count }, () => ({ author: { id: '3' } })));
    expect((await blog.get('/posts?authorId=3&limit=100', 'acme')).body).toHaveLength(count);
  });

  it('of another tenant do not exist', async () => {
    expect(await blog.data('{ posts(authorId: 3) { id } }', 'globex')).toEqual({ posts: [] });
    expect((await blog.get('/posts?authorId=3', 'globex')).body).toEqual([]);
    expect(await blog.data('mutation { deletePost(id: 1) }', 'globex')).toEqual({ deletePost: false });
    expect(await blog.sql('SELECT FROM posts WHERE id = 1')).toHaveLength(1);
    expect(await blog.failure('mutation { createPost(authorId: 1, title: "T", content: "C") { id } }', 'globex')).toBe(
      'NOT_FOUND there is no user 1',
    );
  });

  it('resolve their author and comments, oldest first', async () => {
    const [{ id }] = await blog.sql<[{ id: number }]>(
      `SELECT post_id AS id FROM comments WHERE tenant_id = 'acme' GROUP BY post_id ORDER BY count(*) DESC, 1 LIMIT 1`,
    );
    await blog.sql(`UPDATE posts SET created_at = now() WHERE id = $1`, [id]);
    const { posts } = await blog.data(
      '{ posts(limit: 1) { id author { name } comments(limit: 2, offset: 1) { id postId createdAt author { id name } } } }',
    );
    const comments = await blog.sql(
      `SELECT id::text, author_id::text FROM comments WHERE post_id = $1 ORDER BY created_at, id LIMIT 2 OFFSET 1`,
      [id],
    );
    expect(posts[0]).toMatchObject({ id: String(id), author: { name: expect.any(String) } });
    expect(comments).toHaveLength(2);
    expect(posts[0].comments).toEqual(
      comments.map((comment) => ({
        id: comment['id'],
        postId: String(id),
        createdAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
        author: { id: comment['author_id'], name: expect.any(String) },
      })),
    );
  });

  it('are found by id, with their author and without its password', async () => {
    const { body } = await blog.get('/posts/1', 'acme');
    const [row] = await blog.sql(
      'SELECT p.title, p.author_id, u.name FROM posts p JOIN users u ON u.id = author_id WHERE p.id = 1',
    );
    expect(body).toMatchObject({ id: 1, title: row!['title'], author: { id: row!['author_id'], name: row!['name'] } });
    expect(Object.keys(body.author as object)).not.toContain('passwordHash');
    expect(await blog.data('{ post(id: 1) { title author { name } } }')).toEqual({
      post: { title: row!['title'], author: { name: row!['name'] } },
    });
    const response = await blog.get('/posts/999999', 'acme');
    expect([response.status, response.body.message]).toEqual([404, 'there is no post 999999']);
  });

  it('by an author of another tenant do not exist', async () => {
    const [{ id }] = await blog.sql<[{ id: number }]>(
      `INSERT INTO posts (tenant_id, author_id, title, content, created_at) VALUES ('acme', 11, 'T', 'C', '2000-01-01') RETURNING id`,
    );
    expect(await blog.data(`{ post(id: ${id}) { author { name } } }`)).toEqual({ post: null });
    expect((await blog.get(`/posts/${id}`, 'acme')).status).toBe(404);
    await blog.sql('DELETE FROM posts WHERE id = $1', [id]);
  });

  it('do not show comments that another tenant managed to attach', async () => {
    const [{ id }] = await blog.sql<[{ id: number }]>(
      `INSERT INTO posts (tenant_id, author_id, title, content, created_at) VALUES ('acme', 1, 'T', 'C', now() + interval '1 day')
       RETURNING id`,
    );
    await blog.sql(`INSERT INTO comments (tenant_id, post_id, author_id, body) VALUES ('globex', $1, 11, 'spam')`, [
      id,
    ]);
    expect(await blog.data('{ posts(limit: 1) { id comments { body } } }')).toEqual({
      posts: [{ id: String(id), comments: [] }],
    });
    await blog.sql('DELETE FROM posts WHERE id = $1', [id]);
  });

  it('are created and deleted, with their comments', async () => {
    const { createPost } = await blog.data(
      'mutation { createPost(authorId: 4, title: "Hello", content: "World") { id title content published author { id } } }',
    );
    expect(createPost).toMatchObject({ title: 'Hello', content: 'World', published: true, author: { id: '4' } });
    const { id } = createPost;
    await blog.sql(`INSERT INTO comments (tenant_id, post_id, author_id, body) VALUES ('acme', $1, 4, 'First')`, [id]);
    expect(await blog.data(`mutation { deletePost(id: ${id}) }`)).toEqual({ deletePost: true });
    expect(await blog.data(`mutation { deletePost(id: ${id}) }`)).toEqual({ deletePost: false });
    expect(await blog.sql('SELECT FROM comments WHERE post_id = $1', [id])).toEqual([]);
  });
});

describe('dashboard', () => {
  const query = `{ dashboard { totalUsers totalPosts totalComments averagePostLength postsLast24h
    topAuthors { id name postCount commentCount } } }`;

  it('adds up the rows of the tenant', async () => {
    const tenant = 'globex';
    const { dashboard } = await blog.data(query, tenant);
    const posts = await blog.sql('SELECT * FROM posts WHERE tenant_id = $1', [tenant]);
    const comments = await blog.sql('SELECT * FROM comments WHERE tenant_id = $1', [tenant]);
    const users = await blog.sql('SELECT * FROM users WHERE tenant_id = $1', [tenant]);
    const day = 24 * 3_600_000;
    const authors = users.map(({ id, name }) => {
      const own = new Set(posts.filter((post) => post['author_id'] === id).map((post) => post['id']));
      const commentCount = comments.filter((comment) => own.has(comment['post_id'])).length;
      return { id: String(id), name, postCount: own.size, commentCount };
    });
    authors.sort((a, b) => b.postCount - a.postCount || Number(a.id) - Number(b.id));
    expect(dashboard).toEqual({
      totalUsers: users.length,
      totalPosts: posts.length,
      totalComments: comments.length,
      averagePostLength: expect.closeTo(posts.reduce((sum, post) => sum + post['content'].length, 0) / posts.length, 3),
      postsLast24h: posts.filter((post) => Date.now() - post['created_at'] < day).length,
      topAuthors: authors.slice(0, 5),
    });
    expect(dashboard.postsLast24h).toBeGreaterThan(0);
    expect(dashboard.postsLast24h).toBeLessThan(posts.length / 2);
  });

  it('is zero, not null, for a tenant without rows', async () => {
    await blog.sql(`UPDATE posts SET tenant_id = 'nobody' WHERE tenant_id = 'initech'`);
    const { dashboard } = await blog.data(query, 'initech');
    expect(dashboard).toMatchObject({ totalPosts: 0, averagePostLength: 0, postsLast24h: 0, topAuthors: [] });
    await blog.sql(`UPDATE posts SET tenant_id = 'initech' WHERE tenant_id = 'nobody'`);
  });
});

describe('bad input over GraphQL', () => {
  it.each([
    ['{ users(limit: 0) { id } }', 'limit: 0 is not a whole number from 1 to 100'],
    ['{ users(limit: 101) { id } }', 'limit: 101 is not a whole number from 1 to 100'],
    ['{ posts(offset: -1) { id } }', 'offset: -1 is not a whole number from 0 to 2147483647'],
    ['{ user(id: 1) { posts(limit: -5) { id } } }', 'limit: -5 is not a whole number from 1 to 100'],
    ['{ posts(limit: 1) { comments(limit: 500) { id } } }', 'limit: 500 is not a whole number from 1 to 100'],
    ['{ user(id: "x") { id } }', 'id: "x" is not a whole number from 1 to 2147483647'],
    ['{ user(id: 2147483648) { id } }', 'id: "2147483648" is not a whole number from 1 to 2147483647'],
    ['{ posts(authorId: "1 OR 1=1") { id } }', 'authorId: "1 OR 1=1" is not a whole number from 1 to 2147483647'],
    ['mutation { deletePost(id: "") }', 'id: "" is not a whole number from 1 to 2147483647'],
    ['mutation { createUser(name: " ", email: "a@b") { id } }', 'name: is empty'],
    ['mutation { updateUser(id: 1, name: "a\\u0000b") { id } }', 'name: contains the character U+0000; leave it out'],
    [
      'mutation { createUser(name: "A", email: "nobody") { id } }',
      'email: "nobody" is not an e-mail address; write it like ada@example.com',
    ],
    [
      `mutation { createPost(authorId: 1, title: "${'t'.repeat(301)}", content: "C") { id } }`,
      'title: has 301 characters; 300 are allowed',
    ],
  ])('%s', async (query, message) => {
    expect(await blog.failure(query)).toBe(`BAD_USER_INPUT ${message}`);
  });

  it('does not tell how the server fails', async () => {
    await blog.sql('ALTER TABLE comments RENAME TO hidden_comments');
    expect(await blog.failure('{ posts(limit: 1) { comments { id } } }')).toBe(
      'INTERNAL_SERVER_ERROR internal server error',
    );
    await blog.sql('ALTER TABLE hidden_comments RENAME TO comments');
  });
});

describe('bad input over REST', () => {
  it.each(['limit=0', 'limit=101', 'limit=', 'limit=1e1', 'limit=%207', 'limit=1&limit=2', 'offset=-1', 'authorId=x'])(
    '/posts?%s',
    async (parameters) => {
      const response = await blog.get(`/posts?${parameters}`, 'acme');
      expect([response.status, response.body.message]).toEqual([400, expect.stringMatching(/is not a whole number/)]);
    },
  );
});
