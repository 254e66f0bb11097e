import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { startServer } from '@workspace/embedded-server';
import pg from 'pg';
import { openDatabase } from '../../apps/blog/src/database/data-source.js';
import { seed } from '../../apps/blog/src/database/seed.js';
import { TENANTS } from '../../apps/blog/src/tenancy/tenants.js';
import { anyPage, shownBy, versioned, type Ids, type Page, type Shown } from './blog-pages.js';
import { now, ReadLog, verify, type Violation, type Write } from './history.js';
import { Random } from './random.js';
import { pause } from './registers.js';

const USAGE = `npm run check:pages -- [--seconds 10] [--seed 1] [--processes 2] [--readers 16] [--writes 100]`;

export interface PagesOptions {
  seconds: number;
  seed: number;
  /** Blogs, each a process of its own with a memory tier of its own. */
  processes: number;
  /** HTTP clients. */
  readers: number;
  /** Writes a second: plain SQL past the blog, and mutations through it. */
  writes: number;
}

export interface PagesResult {
  pages: number;
  values: number;
  writes: number;
  /** `Cache-Status` of the answers: how many showed nothing but hits. */
  hits: number;
  problems: string[];
  violations: Violation[];
}

/** Every page of the blog, over HTTP, held against every write. */
export async function checkPages(options: PagesOptions): Promise<PagesResult> {
  const server = await startServer();
  const pool = new pg.Pool({ connectionString: server.url(), max: 10 });
  // Of the server's stop at the end.
  pool.on('error', () => undefined);
  const blogs: ChildProcess[] = [];
  try {
    const dataSource = await openDatabase(server.url());
    await seed(dataSource, { scale: 0.01 });
    await dataSource.destroy();
    const urls = await Promise.all(Array.from({ length: options.processes }, () => startBlog(server.url(), blogs)));
    return await new Check(options, pool, urls, await idsOf(pool)).run();
  } finally {
    await Promise.all(blogs.map(ended));
    await pool.end();
    await server.stop();
  }
}

class Check {
  private readonly registers = new Map<string, number>();
  private readonly pageKeys = new Map<string, number>();
  private readonly writes = new Map<string, Write[]>();
  private readonly log = new ReadLog();
  private readonly problems: string[] = [];
  private pages = 0;
  private hits = 0;
  private until = 0;

  constructor(
    private readonly options: PagesOptions,
    private readonly pool: pg.Pool,
    private readonly urls: readonly string[],
    private readonly ids: ReadonlyMap<string, Ids>,
  ) {}

  async run(): Promise<PagesResult> {
    const { seconds, readers, seed: number } = this.options;
    await this.countPosts();
    this.until = now() + seconds * 1_000;
    const reading = Array.from({ length: readers }, (_, session) =>
      this.read(session, new Random(number * 31 + session)),
    );
    const writing = TENANTS.map((tenant, index) => this.write(tenant, new Random(number * 7_919 + index)));
    await Promise.all([...reading, ...writing]);
    const writes = [...this.writes.values()].flat();
    return {
      pages: this.pages,
      values: this.log.length,
      writes: writes.length,
      hits: this.hits,
      problems: this.problems.slice(0, 10),
      violations: verify(this.log, writes, 0),
    };
  }

  private async read(session: number, random: Random): Promise<void> {
    while (now() < this.until) {
      const tenant = TENANTS[random.below(TENANTS.length)]!;
      const page = anyPage(random, tenant, this.ids.get(tenant)!);
      const url = this.urls[random.below(this.urls.length)]!;
      try {
        const began = now();
        const answer = await this.get(url, page);
        const ended = now();
        this.pages++;
        const key = numberOf(this.pageKeys, `${url} ${page.key}`);
        for (const [register, value] of oldest(shownBy(page, answer)))
          this.log.add({
            session,
            key,
            register: numberOf(this.registers, register),
            a: value,
            b: value,
            began,
            ended,
          });
      } catch (error) {
        this.problems.push((error as Error).message);
      }
    }
  }

  private async get(url: string, { tenant, path, query }: Page): Promise<unknown> {
    const headers = { 'x-tenant-id': tenant, 'content-type': 'application/json' };
    const request = query === undefined ? { headers } : { method: 'POST', headers, body: JSON.stringify({ query }) };
    const response = await fetch(url + path, request);
    const body = (await response.json()) as { errors?: unknown };
    if (!response.ok || body.errors !== undefined) throw new Error(`${path} ${query ?? ''}: ${JSON.stringify(body)}`);
    if (!/fwd|bypass/.test(response.headers.get('cache-status') ?? 'bypass')) this.hits++;
    return body;
  }

  /** One writer per tenant, so that the versions of a row, and the number of posts, only grow. */
  private async write(tenant: string, random: Random): Promise<void> {
    const pauseMs = (TENANTS.length * 1_000) / this.options.writes;
    while (now() < this.until) {
      await pause(random.next() * 2 * pauseMs);
      await this.writeOnce(tenant, random).catch((error: Error) => this.problems.push(`write: ${error.message}`));
    }
  }

  private async writeOnce(tenant: string, random: Random): Promise<void> {
    const { users, posts, comments } = this.ids.get(tenant)!;
    const any = (ids: readonly number[]): number => ids[Math.floor(random.next() ** 2 * ids.length)]!;
    const kind = random.below(10);
    if (kind < 2) await this.rename(tenant, any(users), random);
    else if (kind < 5) await this.update(random, ['users', 'name', 'user', any(users)]);
    else if (kind < 7)
      await this.update(random, ['posts', 'title', 'post', any(posts)], ['users', 'name', 'user', any(users)]);
    else if (kind < 9) await this.update(random, ['comments', 'body', 'comment', any(comments)]);
    else await this.addPost(tenant, any(users), random);
  }

  /** Past the blog, as another service would: rows of one or two tables in one transaction. */
  private async update(
    random: Random,
    ...rows: [table: string, column: string, kind: string, id: number][]
  ): Promise<void> {
    const writes = rows.map(([, , kind, id]) => this.next(`${kind} ${id}`));
    const client = await this.pool.connect();
    try {
      await client.query('BEGIN');
      for (const [index, [table, column, kind, id]] of rows.entries())
        await client.query(`UPDATE ${table} SET ${column} = $2 WHERE id = $1`, [
          id,
          versioned(`${kind} ${id}`, writes[index]!.value),
        ]);
      if (random.chance(0.2)) await pause(random.next() * 30);
      const committed = !random.chance(0.1);
      await client.query(committed ? 'COMMIT' : 'ROLLBACK');
      for (const write of writes) write.acknowledged = committed ? now() : null;
    } finally {
      client.release();
    }
  }

  /** Through the blog: its answer must show the new name, and so must every page from then on. */
  private async rename(tenant: string, id: number, random: Random): Promise<void> {
    const write = this.next(`user ${id}`);
    const query = `mutation { updateUser(id: ${id}, name: "${versioned(`user ${id}`, write.value)}") { id name } }`;
    await this.get(this.urls[random.below(this.urls.length)]!, { key: '', tenant, path: '/graphql', query });
    write.acknowledged = now();
  }

  private async addPost(tenant: string, author: number, random: Random): Promise<void> {
    const write = this.next(`posts of ${tenant}`);
    const content = 'x'.repeat(1 + random.below(50));
    await this.pool.query(`INSERT INTO posts (tenant_id, author_id, title, content) VALUES ($1, $2, 'new', $3)`, [
      tenant,
      author,
      content,
    ]);
    write.acknowledged = now();
  }

  private next(register: string): Write {
    const all = this.writes.get(register) ?? [];
    this.writes.set(register, all);
    const write: Write = {
      register: numberOf(this.registers, register),
      value: (all.at(-1)?.value ?? 0) + 1,
      issued: now(),
    };
    all.push(write);
    return write;
  }

  /** The number of posts is a register too; what the blog began with counts as written long ago. */
  private async countPosts(): Promise<void> {
    const { rows } = await this.pool.query<{ tenant_id: string; posts: number }>(
      'SELECT tenant_id, count(*)::int AS posts FROM posts GROUP BY 1',
    );
    for (const { tenant_id, posts } of rows) {
      const register = numberOf(this.registers, `posts of ${tenant_id}`);
      this.writes.set(`posts of ${tenant_id}`, [
        { register, value: posts, issued: -Infinity, acknowledged: -Infinity },
      ]);
    }
  }
}

/** A page that shows a row twice may have read it at two moments: the older one counts. */
function oldest(shown: readonly Shown[]): Map<string, number> {
  const values = new Map<string, number>();
  for (const { register, value } of shown) values.set(register, Math.min(value, values.get(register) ?? Infinity));
  return values;
}

async function idsOf(pool: pg.Pool): Promise<Map<string, Ids>> {
  const ids = new Map<string, Ids>();
  for (const tenant of TENANTS) {
    const of = async (sql: string): Promise<number[]> =>
      (await pool.query<{ id: number }>(sql, [tenant])).rows.map(({ id }) => id);
    ids.set(tenant, {
      users: await of('SELECT id FROM users WHERE tenant_id = $1 ORDER BY id LIMIT 20'),
      // Those that pages show.
      posts: await of('SELECT id FROM posts WHERE tenant_id = $1 ORDER BY created_at DESC, id DESC LIMIT 10'),
      comments: await of(
        `SELECT id FROM comments WHERE post_id IN (SELECT id FROM posts WHERE tenant_id = $1 ORDER BY created_at DESC LIMIT 10)
          ORDER BY created_at LIMIT 20`,
      ),
    });
  }
  return ids;
}

async function startBlog(databaseUrl: string, blogs: ChildProcess[]): Promise<string> {
  const blog = fork(fileURLToPath(new URL('./blog-process.ts', import.meta.url)), [databaseUrl]);
  blogs.push(blog);
  return new Promise((resolve, reject) => {
    blog.once('message', ({ url }: { url: string }) => resolve(url));
    blog.once('exit', (code) => reject(new Error(`a blog ended with ${code} before it listened`)));
  });
}

async function ended(blog: ChildProcess): Promise<void> {
  if (blog.exitCode !== null || blog.signalCode !== null) return;
  blog.kill('SIGKILL');
  await once(blog, 'exit');
}

function numberOf(numbers: Map<string, number>, name: string): number {
  let number = numbers.get(name);
  if (number === undefined) numbers.set(name, (number = numbers.size));
  return number;
}

function parse(): PagesOptions {
  const names = ['seconds', 'seed', 'processes', 'readers', 'writes'] as const;
  const defaults = { seconds: '10', seed: '1', processes: '2', readers: '16', writes: '100' };
  const { values } = parseArgs({
    options: Object.fromEntries(names.map((name) => [name, { type: 'string' as const, default: defaults[name] }])),
  });
  const given = Object.fromEntries(names.map((name) => [name, Number(values[name])])) as unknown as PagesOptions;
  for (const name of names)
    if (!(given[name] > 0)) throw new Error(`--${name} ${String(values[name])} is not a positive number\n${USAGE}`);
  return given;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    const result = await checkPages(parse());
    console.log(`pages       ${result.pages}, ${result.hits} of them from the cache alone`);
    console.log(`values      ${result.values} checked`);
    console.log(`writes      ${result.writes}`);
    if (result.problems.length > 0) console.log(`problems    ${result.problems.join('\n            ')}`);
    console.log(`violations  ${result.violations.length}`);
    for (const violation of result.violations.slice(0, 5)) console.log(JSON.stringify(violation, null, 1));
    process.exitCode = result.violations.length > 0 || result.problems.length > 0 ? 1 : 0;
  } catch (error) {
    console.error((error as Error).message);
    process.exitCode = 2;
  }
}
