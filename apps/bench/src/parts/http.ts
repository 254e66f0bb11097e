import autocannon from 'autocannon';
import pg from 'pg';
import { deepStrictEqual } from 'node:assert';
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { openDatabase } from '../../../blog/src/database/data-source.js';
import { seed } from '../../../blog/src/database/seed.js';
import { TENANT_HEADER } from '../../../blog/src/tenancy/tenants.js';
import { type Bench } from '../bench.js';
import { type Variant } from '../http/blog-variants.js';
import { measure, type Contender } from '../rounds.js';
import { type Target } from '../targets.js';

const CONNECTIONS = 64;
/**
 * Of whoever has the dashboard computed each time: as many as the blog's pool has to the database. More would only wait for
 * one of those, and on a slow machine be refused after ten seconds.
 */
const COMPUTING_CONNECTIONS = 10;
/** Rows written past the application, after each of which the dashboard is looked at. */
const CHANGES = 10;
const VARIANTS: readonly Variant[] = ['uncached', 'this library', 'CacheInterceptor'];

const UNCACHED_RESOLVERS =
  'it works around controllers only: on a resolver it throws, and with @CacheKey it computes each time; GET /graphql is no controller';

/** A request. */
interface Page {
  name: string;
  path: string;
  /** For GraphQL. */
  query?: string;
  /** Whether it takes the database long to compute. */
  isAggregate: boolean;
}

const DASHBOARD =
  '{ dashboard { totalUsers totalPosts totalComments averagePostLength postsLast24h topAuthors { id name postCount commentCount } } }';

/** The aggregate and a read by primary key, each as the GraphQL API and the REST API have it. */
const PAGES: readonly Page[] = [
  { name: 'dashboard, GraphQL', path: '/graphql', query: DASHBOARD, isAggregate: true },
  { name: 'dashboard, REST', path: '/dashboard', isAggregate: true },
  {
    name: 'one user, GraphQL',
    path: '/graphql',
    query: '{ user(id: 1) { id name email role createdAt } }',
    isAggregate: false,
  },
  { name: 'one user, REST', path: '/users/1', isAggregate: false },
];

/** Requests a second of the whole blog: 2,000 users, 50,000 posts, 200,000 comments; each variant a process of its own. */
export async function http({ environment, report, rounds, ms }: Bench): Promise<Target[]> {
  const databaseUrl = await seededBlog(environment.postgresUrl);
  const blogs = new Map<Variant, ChildProcess>();
  const rates = new Map<string, number>();
  try {
    const urls = new Map<Variant, string>();
    for (const variant of VARIANTS) urls.set(variant, await startBlog(variant, databaseUrl, blogs));
    for (const page of PAGES) {
      const title = `HTTP, ${page.name}, ${CONNECTIONS} connections`;
      const variants = VARIANTS.filter((variant) => variant !== 'CacheInterceptor' || page.query === undefined);
      await checkAnswers(page, variants, urls);
      const contenders = variants.map((variant) => contender(variant, page, urls.get(variant)!));
      // Finds out how many requests make a round.
      for (const { run } of contenders) await run(ms);
      const measured = await measure(contenders, rounds, ms);
      report.rates(title, measured);
      for (const { name, median } of measured.values()) rates.set(`${page.name}: ${name}`, median);
      if (page.query !== undefined) report.notMeasured(title, 'CacheInterceptor', UNCACHED_RESOLVERS);
    }
    const stale = await countStale(databaseUrl, urls);
    for (const [variant, answers] of stale)
      report.figure(`HTTP, dashboard, REST, stale after ${CHANGES} changes by plain SQL`, 'answers', variant, answers);
  } finally {
    await Promise.all([...blogs.values()].map(ended));
  }
  const ratio = (page: string, to: Variant): number =>
    rates.get(`${page}: this library`)! / rates.get(`${page}: ${to}`)!;
  return [
    ...['dashboard, GraphQL', 'dashboard, REST'].map((page) => ({
      what: `HTTP, ${page}: requests, relative to uncached`,
      goal: 50,
      measured: ratio(page, 'uncached'),
      atLeast: true,
    })),
    {
      what: 'HTTP, dashboard, REST: requests, relative to CacheInterceptor',
      goal: 1,
      measured: ratio('dashboard, REST', 'CacheInterceptor'),
      atLeast: true,
    },
  ];
}

/** In a database of its own: its tables have names that other parts may want. */
async function seededBlog(postgresUrl: string): Promise<string> {
  const client = new pg.Client({ connectionString: postgresUrl });
  await client.connect();
  await client.query('CREATE DATABASE bench_blog');
  await client.end();
  const url = new URL(postgresUrl);
  url.pathname = '/bench_blog';
  const dataSource = await openDatabase(url.href);
  await seed(dataSource);
  await dataSource.destroy();
  return url.href;
}

/** As many requests as take about the time that was asked for, at the last rate. */
function contender(name: Variant, page: Page, url: string): Contender {
  const computes = name === 'uncached' && page.isAggregate;
  const connections = computes ? COMPUTING_CONNECTIONS : CONNECTIONS;
  // Connections are opened anew each time, so that one should serve for more than a few quick answers.
  const fewest = computes ? connections : 20 * connections;
  let amount = fewest;
  return {
    name,
    run: async (ms) => {
      const result = await autocannon({
        ...requestOf(page, url),
        connections,
        amount,
        // GraphQL answers 200 where it fails.
        verifyBody: (body) => body?.includes('"errors":') === false,
        // How often it looks whether it is done, which is in what it counts as duration.
        sampleInt: 10,
        timeout: 60,
      });
      const { '2xx': answered, mismatches: wrong, non2xx: refused, errors: failed } = result;
      if (answered !== amount || wrong > 0)
        throw new Error(`${name}, ${page.name}, of ${amount}: ${wrong} wrong, ${refused} refused, ${failed} failed`);
      const rate = answered / result.duration;
      amount = Math.max(fewest, Math.round((rate * ms) / 1_000));
      return rate;
    },
  };
}

function requestOf(
  { path, query }: Page,
  url: string,
): { url: string; method: 'GET' | 'POST'; headers: Record<string, string>; body?: string } {
  const headers = { [TENANT_HEADER]: 'acme', 'content-type': 'application/json' };
  if (query === undefined) return { url: url + path, method: 'GET', headers };
  return { url: url + path, method: 'POST', headers, body: JSON.stringify({ query }) };
}

/**
 * Have each variant compute the page, then look at how it answers when it is asked again.
 * @throws Error where the answers differ, or one is not from where its name says: then the figures would be of something else.
 */
async function checkAnswers(
  page: Page,
  variants: readonly Variant[],
  urls: ReadonlyMap<Variant, string>,
): Promise<void> {
  const bodies = new Map<Variant, unknown>();
  for (const variant of variants) {
    const { url, ...request } = requestOf(page, urls.get(variant)!);
    let response = await fetch(url, request);
    // What is computed is stored after it was answered; the next request may come too early.
    for (
      const deadline = Date.now() + 10_000;
      !isAsNamed(variant, response.headers);
      response = await fetch(url, request)
    ) {
      await response.arrayBuffer();
      if (Date.now() > deadline) throw new Error(`${page.name}: this is not ${variant}: ${headersOf(response)}`);
    }
    const body = (await response.json()) as { errors?: unknown };
    if (!response.ok || body.errors !== undefined) throw new Error(`${page.name}, ${variant}: ${JSON.stringify(body)}`);
    bodies.set(variant, body);
  }
  for (const [variant, body] of bodies)
    deepStrictEqual(body, bodies.get('uncached'), `${page.name}: ${variant} gives another answer`);
}

/** Dashboards that lack a comment whose INSERT was committed before they were asked for. */
async function countStale(databaseUrl: string, urls: ReadonlyMap<Variant, string>): Promise<Map<Variant, number>> {
  const stale = new Map<Variant, number>([...urls.keys()].map((variant) => [variant, 0]));
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  for (let change = 0; change < CHANGES; change++) {
    await client.query(`INSERT INTO comments (tenant_id, post_id, author_id, body) VALUES ('acme', 1, 1, 'new')`);
    const count = `SELECT count(*)::int AS comments FROM comments WHERE tenant_id = 'acme'`;
    const { comments } = (await client.query<{ comments: number }>(count)).rows[0]!;
    for (const [variant, url] of urls) {
      const response = await fetch(`${url}/dashboard`, { headers: { [TENANT_HEADER]: 'acme' } });
      const { totalComments } = (await response.json()) as { totalComments: number };
      if (totalComments !== comments) stale.set(variant, stale.get(variant)! + 1);
    }
  }
  await client.end();
  return stale;
}

function isAsNamed(variant: Variant, headers: Headers): boolean {
  const status = headers.get('cache-status');
  const isHit = status !== null && /; hit/.test(status);
  if (variant === 'this library') return isHit;
  return status === null && headers.get('x-cache') === (variant === 'CacheInterceptor' ? 'HIT' : null);
}

function headersOf({ status, headers }: Response): string {
  return `${status}, Cache-Status ${headers.get('cache-status')}, X-Cache ${headers.get('x-cache')}`;
}

async function startBlog(variant: Variant, databaseUrl: string, blogs: Map<Variant, ChildProcess>): Promise<string> {
  const file = fileURLToPath(new URL('../http/blog-process.ts', import.meta.url));
  const blog = fork(file, [variant, databaseUrl], { env: { ...process.env, NODE_ENV: 'production' } });
  blogs.set(variant, blog);
  return new Promise((resolve, reject) => {
    blog.once('message', ({ url }: { url: string }) => resolve(url));
    blog.once('exit', (code) => reject(new Error(`the blog, ${variant}, ended with ${code} before it listened`)));
  });
}

async function ended(blog: ChildProcess): Promise<void> {
  if (blog.exitCode !== null || blog.signalCode !== null) return;
  blog.kill('SIGKILL');
  await once(blog, 'exit');
}
