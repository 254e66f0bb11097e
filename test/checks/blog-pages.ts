import { type Random } from './random.js';

/** What a page is asked with. */
export interface Page {
  /** Which page of which tenant: reads of one must not go back in time. */
  key: string;
  tenant: string;
  path: string;
  /** For GraphQL. */
  query?: string;
}

/** A value that a page shows: the version of a user's name, of a post's title, … */
export interface Shown {
  /** `user 3`, `post 17`, `comment 4`, `posts of acme`. */
  register: string;
  value: number;
}

const AUTHOR = 'author { id name tenantId }';

const QUERIES: ((random: Random, ids: Ids) => string)[] = [
  () => `{ users(limit: 20) { id name tenantId } }`,
  (random, { users }) => `{ user(id: ${pick(random, users)}) { id name tenantId } }`,
  (random, { users }) =>
    `{ user(id: ${pick(random, users)}) { id name tenantId posts(limit: 5) { id title tenantId comments(limit: 3) { id body tenantId ${AUTHOR} } } } }`,
  () => `{ posts(limit: 10) { id title tenantId ${AUTHOR} } }`,
  (random, { users }) =>
    `{ posts(limit: 5, authorId: ${pick(random, users)}) { id title tenantId ${AUTHOR} comments(limit: 5) { id body tenantId ${AUTHOR} } } }`,
  (random, { posts }) =>
    `{ post(id: ${pick(random, posts)}) { id title tenantId ${AUTHOR} comments(limit: 3) { id body tenantId } } }`,
  () => `{ dashboard { totalPosts topAuthors { id name } } }`,
];

/** The rows of one tenant that are written, hottest first. */
export interface Ids {
  users: readonly number[];
  posts: readonly number[];
  comments: readonly number[];
}

/** Any page of the blog. */
export function anyPage(random: Random, tenant: string, ids: Ids): Page {
  const page = (path: string, query?: string): Page => ({
    key: `${tenant} ${path} ${query ?? ''}`,
    tenant,
    path,
    query,
  });
  if (random.chance(0.2)) return page(`/users/${pick(random, ids.users)}`);
  if (random.chance(0.1)) return page('/posts?limit=10');
  if (random.chance(0.1)) return page(`/posts?limit=5&authorId=${pick(random, ids.users)}`);
  if (random.chance(0.1)) return page(`/posts/${pick(random, ids.posts)}`);
  return page('/graphql', QUERIES[random.below(QUERIES.length)]!(random, ids));
}

/**
 * The versions that an answer shows. Whatever has a name is a user, a title a post, a body a comment.
 * @throws where it shows a row of another tenant, or anything but rows.
 */
export function shownBy({ tenant }: Page, answer: unknown): Shown[] {
  const shown: Shown[] = [];
  const visit = (node: unknown): void => {
    if (Array.isArray(node)) return node.forEach(visit);
    if (typeof node !== 'object' || node === null) return;
    const { id, name, title, body, tenantId, totalPosts } = node as Record<string, unknown>;
    if (tenantId !== undefined && tenantId !== tenant) throw new Error(`${tenant} was shown ${JSON.stringify(node)}`);
    for (const [kind, text] of Object.entries({ user: name, post: title, comment: body }))
      if (typeof text === 'string' && id !== undefined)
        shown.push({ register: `${kind} ${id as string}`, value: versionOf(text) });
    if (typeof totalPosts === 'number') shown.push({ register: `posts of ${tenant}`, value: totalPosts });
    Object.values(node).forEach(visit);
  };
  visit(answer);
  return shown;
}

/** A text of this version. */
export function versioned(text: string, version: number): string {
  return `${text} v${version}`;
}

/** 0 for one that nobody has written yet. */
function versionOf(text: string): number {
  return Number(/ v(\d+)$/.exec(text)?.[1] ?? 0);
}

function pick(random: Random, ids: readonly number[]): number {
  // The first ones most.
  return ids[Math.floor(random.next() ** 2 * ids.length)]!;
}
