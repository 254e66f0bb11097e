import { type DataSource, type EntityManager } from 'typeorm';
import { type Tenant } from '../tenancy/tenants.js';
import { SETUP_LOCK } from './data-source.js';

/** Rows of the whole blog at scale 1. */
export const ROWS = { users: 2_000, posts: 50_000, comments: 200_000 } as const;

/** Three customers of different size, as in life. */
const SHARES: [Tenant, number][] = [
  ['acme', 0.5],
  ['globex', 0.3],
  ['initech', 0.2],
];

/** One statement writes at most this many rows, so that the progress bar moves. */
const ROWS_PER_STATEMENT = 10_000;

export interface SeedProgress {
  /** What was written last. */
  tenant: Tenant;
  table: keyof typeof ROWS;
  /** Rows written so far and in the end, of all tables. */
  done: number;
  total: number;
}

export interface SeedOptions {
  /** How much to write, as a share of {@link ROWS}; 1 by default. Every tenant gets at least one row of each kind. */
  scale?: number;
  onProgress?: (progress: SeedProgress) => void;
  /** Stops between two statements; nothing stays behind. */
  signal?: AbortSignal;
}

export interface SeedResult {
  /** False when the blog had users already and was left alone. */
  seeded: boolean;
  /** Rows written. */
  rows: number;
}

/**
 * Fill an empty blog: all of it or, if anything fails, nothing.
 *
 * The same scale always gives the same rows, except for the times of the posts of the last day (one in fifty), which
 * count back from now, and of the comments on those.
 *
 * @example
 * await seed(dataSource, { scale: 0.01 }); // 20 users, 500 posts, 2,000 comments
 */
export async function seed(dataSource: DataSource, options: SeedOptions = {}): Promise<SeedResult> {
  const result = await dataSource.transaction(async (manager) => {
    // A second process that starts on the same empty database waits here, and then finds the users of the first.
    await manager.query('SELECT pg_advisory_xact_lock($1)', [SETUP_LOCK]);
    const [{ filled }] = await manager.query<[{ filled: boolean }]>('SELECT EXISTS (SELECT FROM users) AS filled');
    return filled ? { seeded: false, rows: 0 } : { seeded: true, rows: await fill(manager, options) };
  });
  // Without it the planner knows nothing, and counts get faster by themselves a minute later, when autovacuum comes.
  if (result.seeded) await dataSource.query('VACUUM (ANALYZE) users, posts, comments');
  return result;
}

async function fill(manager: EntityManager, { scale = 1, onProgress, signal }: SeedOptions): Promise<number> {
  const plan = SHARES.map(([tenant, share]) => ({
    tenant,
    users: atLeastOne(ROWS.users * share * scale),
    posts: atLeastOne(ROWS.posts * share * scale),
    comments: atLeastOne(ROWS.comments * share * scale),
  }));
  const total = plan.reduce((sum, part) => sum + part.users + part.posts + part.comments, 0);
  const before = { users: 0, posts: 0, comments: 0 };
  let done = 0;
  for (const part of plan) {
    for (const table of ['users', 'posts', 'comments'] as const) {
      for (let from = 1; from <= part[table]; from += ROWS_PER_STATEMENT) {
        signal?.throwIfAborted();
        const to = Math.min(from + ROWS_PER_STATEMENT - 1, part[table]);
        await manager.query(`WITH given AS (${GIVEN}) ${INSERTS[table]}`, [
          part.tenant,
          from,
          to,
          before.users,
          part.users,
          before.posts,
          part.posts,
          before.comments,
        ]);
        done += to - from + 1;
        onProgress?.({ tenant: part.tenant, table, done, total });
      }
    }
    before.users += part.users;
    before.posts += part.posts;
    before.comments += part.comments;
  }
  for (const table of ['users', 'posts', 'comments']) {
    // The ids were given, so the counters behind them still stand at the start.
    await manager.query(`SELECT setval(pg_get_serial_sequence('${table}', 'id'), (SELECT max(id) FROM ${table}))`);
  }
  return done;
}

function atLeastOne(rows: number): number {
  return Math.max(1, Math.round(rows));
}

/** All statements take the same parameters; naming (and typing) them here keeps the statements readable. */
const GIVEN = `SELECT $1::text AS tenant, $2::int AS first, $3::int AS last, $4::int AS users_before, $5::int AS users,
  $6::int AS posts_before, $7::int AS posts, $8::int AS comments_before`;

/**
 * A fraction from 0 to 1 that looks random but depends on the row number alone. Each `prime` gives another sequence.
 * (`random()` after `setseed()` would depend on the order in which the planner evaluates rows.)
 */
function fraction(row: string, prime: number): string {
  return `(((${row})::bigint * ${prime}) % 4294967296 / 4294967296.0::float8)`;
}

function pick(words: string[], fractionOfRow: string): string {
  const array = words.map((word) => `'${word}'`).join(', ');
  return `(ARRAY[${array}])[1 + floor(${fractionOfRow} * ${words.length})::int]`;
}

const FIRST_NAMES =
  'Ada Alan Barbara Donald Edsger Frances Grace Jean John Katherine Ken Leslie Margaret Niklaus Radia Tony'.split(' ');
const LAST_NAMES =
  'Adams Baker Chen Diaz Evans Fischer Garcia Haddad Ivanova Jones Kim Lopez Moreau Nakamura Okafor Patel Rossi Silva Tanaka Weber'.split(
    ' ',
  );
const TOPICS = [
  'connection pools',
  'query plans',
  'GraphQL schemas',
  'background jobs',
  'feature flags',
  'release trains',
  'code review',
  'on-call duty',
];
const OPENINGS = ['Notes on', 'Ten lessons from', 'A short history of', 'What we got wrong about', 'A second look at'];
const SENTENCES = [
  'It worked on the first try, which made everyone nervous. ',
  'The graph was flat for a week and then it was not. ',
  'We measured it twice, because nobody believed the first number. ',
  'In the end the smaller change was the better one. ',
  'The comment in the code was older than the company. ',
];
const REMARKS = [
  'Thank you, this saved my afternoon.',
  'Have you tried it with more than one writer?',
  'We saw the same last year.',
  'I would love to read a follow-up.',
  'The second figure surprised me.',
];

const INSERTS: Record<keyof typeof ROWS, string> = {
  users: `
    INSERT INTO users (id, tenant_id, name, email, role, password_hash, created_at)
    SELECT users_before + i, tenant,
           first_name || ' ' || last_name,
           lower(first_name || '.' || last_name) || '.' || i || '@' || tenant || '.example',
           CASE WHEN i = 1 THEN 'admin' WHEN i % 10 = 0 THEN 'editor' ELSE 'reader' END,
           'not-a-real-hash:' || md5(tenant || i),
           timestamptz '2021-01-01' + ${fraction('users_before + i', 668265263)} * interval '700 days'
      FROM given, generate_series(first, last) AS i,
           LATERAL (SELECT ${pick(FIRST_NAMES, fraction('users_before + i', 2654435761))} AS first_name,
                           ${pick(LAST_NAMES, fraction('users_before + i', 2246822519))} AS last_name) AS names`,

  // The power makes a few authors write much more than the others.
  posts: `
    INSERT INTO posts (id, tenant_id, author_id, title, content, published, created_at)
    SELECT posts_before + i, tenant,
           users_before + 1 + floor(power(${fraction('posts_before + i', 2654435761)}, 1.5) * users)::int,
           ${pick(OPENINGS, fraction('posts_before + i', 668265263))} || ' ' || ${pick(TOPICS, fraction('posts_before + i', 374761393))} || ', part ' || i,
           ${pick(SENTENCES, fraction('posts_before + i', 2246822519))}
             || repeat(${pick(SENTENCES, fraction('posts_before + i', 3266489917))}, 3 + floor(${fraction('posts_before + i', 374761393)} * 25)::int),
           i % 10 <> 0,
           CASE WHEN i % 50 = 0 THEN now() - ${fraction('posts_before + i', 3266489917)} * interval '24 hours'
                ELSE timestamptz '2023-01-01' + ${fraction('posts_before + i', 3266489917)} * interval '700 days' END
      FROM given, generate_series(first, last) AS i`,

  // Nobody comments before the post is there, nor in the future.
  comments: `
    INSERT INTO comments (id, tenant_id, post_id, author_id, body, created_at)
    SELECT comments_before + i, tenant, post.id,
           users_before + 1 + floor(${fraction('comments_before + i', 2246822519)} * users)::int,
           ${pick(REMARKS, fraction('comments_before + i', 374761393))},
           post.created_at + ${fraction('comments_before + i', 668265263)} * least(interval '30 days', now() - post.created_at)
      FROM given CROSS JOIN generate_series(first, last) AS i
      JOIN posts AS post ON post.id = posts_before + 1 + floor(${fraction('comments_before + i', 2654435761)} * posts)::int`,
};
