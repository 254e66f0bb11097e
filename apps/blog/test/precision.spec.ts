import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { startServer, type EmbeddedServer } from '@workspace/embedded-server';
import { CacheService } from 'nestjs-result-cache';
import { BlogFixture } from './blog.fixture.js';

const USERS = 200;
const AUTHORS = 50;
/** One who is among the users and the authors that were asked for. */
const RENAMED = 7;

let server: EmbeddedServer;
let blog: BlogFixture;
beforeAll(async () => {
  // Of its own: seeding is one long transaction, during which caches installed on the same server meanwhile store nothing.
  server = await startServer();
  blog = await BlogFixture.start(1, server.url());
}, 120_000);
afterAll(async () => {
  await blog?.stop();
  await server?.stop();
});

interface Page {
  what: string;
  tenant: string;
}

const HIT = /^default; hit;/;

/** Ask for pages, some at a time, and give what they show and whether all of it came from the cache. */
async function ask(pages: readonly Page[]): Promise<{ text: string; isHit: boolean }[]> {
  const answers: { text: string; isHit: boolean }[] = [];
  for (let from = 0; from < pages.length; from += 20)
    answers.push(
      ...(await Promise.all(
        pages.slice(from, from + 20).map(async ({ what, tenant }) => {
          const response = await (what.startsWith('/') ? blog.get(what, tenant) : blog.post(what, tenant));
          if (response.status !== 200 || response.text.includes('"errors"'))
            throw new Error(`${what} failed with ${response.status}: ${response.text}`);
          return { text: response.text, isHit: HIT.test(String(response.headers['cache-status'])) };
        }),
      )),
    );
  await blog.stored();
  return answers;
}

/** One page for each of the numbers from 1. */
function pages(count: number, what: (n: number) => string, tenant = 'acme'): Page[] {
  return Array.from({ length: count }, (_, index) => ({ what: what(index + 1), tenant }));
}

it('renaming one user with plain SQL costs the pages that show it, and no other', async () => {
  const [{ post, anothers }] = await blog.sql<[{ post: number; anothers: number }]>(
    `SELECT min(id) FILTER (WHERE author_id = $1) AS post, min(id) FILTER (WHERE author_id = $1 + 1) AS anothers FROM posts`,
    [RENAMED],
  );
  const TENANT_PAGES = [
    '{ users { id name } }',
    '{ posts { id title author { name } } }',
    '/posts',
    '{ dashboard { totalUsers topAuthors { name } } }',
  ];
  const others = [
    ...pages(USERS, (id) => `/users/${id}`).filter(({ what }) => what !== `/users/${RENAMED}`),
    ...pages(AUTHORS, (id) => `{ posts(authorId: ${id}) { id title author { id name } } }`).filter(
      (_, index) => index + 1 !== RENAMED,
    ),
    // What holds none of the name: the posts of all authors, of the renamed one too.
    ...pages(AUTHORS, (id) => `/posts?authorId=${id}`),
    { what: `/posts/${anothers}`, tenant: 'acme' },
    { what: `{ post(id: ${anothers}) { author { name } } }`, tenant: 'acme' },
    { what: '/posts', tenant: 'acme' },
    ...['globex', 'initech'].flatMap((tenant) => TENANT_PAGES.map((what) => ({ what, tenant }))),
  ];
  const showing = [
    `/users/${RENAMED}`,
    `{ user(id: ${RENAMED}) { name } }`,
    `{ posts(authorId: ${RENAMED}) { author { name } } }`,
    `{ post(id: ${post}) { author { name } } }`,
    `/posts/${post}`,
    '{ users(limit: 20) { id name } }',
  ].map((what) => ({ what, tenant: 'acme' }));
  const dashboard = { what: TENANT_PAGES[3]!, tenant: 'acme' };

  const first = await ask([...others, ...showing, dashboard]);
  const before = await ask([...others, ...showing, dashboard]);
  expect(before.filter(({ isHit }) => !isHit)).toEqual([]);
  expect(before.map(({ text }) => text)).toEqual(first.map(({ text }) => text));

  await blog.sql(`UPDATE users SET name = 'Renamed Once' WHERE id = $1`, [RENAMED]);

  const { engine } = blog.app.get(CacheService);
  const counted = engine.counters();
  const after = await ask(others);
  const missed = others.filter((_, index) => !after[index]!.isHit);
  expect(missed).toEqual([]);
  expect(after.map(({ text }) => text)).toEqual(first.slice(0, others.length).map(({ text }) => text));
  expect(engine.counters().misses).toBe(counted.misses);
  expect(others.length).toBe(199 + 49 + 50 + 3 + 8);

  const computed = engine.counters().misses;
  for (const page of showing) expect((await ask([page]))[0]!.text).toContain('Renamed Once');
  // Pages share what they read: the user, its post with it, and the first page of users are computed once each.
  expect(engine.counters().misses - computed).toBe(3);
  // It adds up all users of the tenant, so it is computed again, and then kept.
  expect((await ask([dashboard]))[0]).toMatchObject({ isHit: false });
  const again = await ask([...others, ...showing, dashboard]);
  expect(again.filter(({ isHit }) => !isHit)).toEqual([]);
});
