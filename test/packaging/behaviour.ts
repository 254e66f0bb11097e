import { expect } from '@jest/globals';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { ServedApp } from './served-app.js';

/** A database with posts of two tenants. */
export async function createPosts(): Promise<TestDatabase> {
  const database = await createDatabase();
  await database.pool.query(`
    CREATE TABLE posts (id int PRIMARY KEY, tenant_id text NOT NULL, title text NOT NULL, written timestamptz DEFAULT now());
    INSERT INTO posts VALUES (1, 'acme', 'Hello'), (2, 'globex', 'Hi')`);
  return database;
}

/** Run a compiled application on such a database, and stop it whatever happens. */
export async function serve(
  folder: string,
  check: (app: ServedApp, database: TestDatabase) => Promise<void>,
  env: NodeJS.ProcessEnv = {},
): Promise<void> {
  const database = await createPosts();
  try {
    const app = await ServedApp.start('dist/main.js', folder, { DATABASE_URL: database.url, ...env });
    try {
      await check(app, database);
    } catch (error) {
      // An assertion knows nothing of the process it was about.
      throw new Error(`${(error as Error).message}\n\nthe application printed:\n${app.printed}`, { cause: error });
    } finally {
      await app.stop();
    }
  } finally {
    await database.drop();
  }
}

/** What every application of these projects must do: hit, stay apart by tenant, and see what plain SQL writes. */
export async function expectCached(app: ServedApp, database: TestDatabase): Promise<void> {
  const first = await app.get('/posts', 'acme');
  expect(first.status).toBe(200);
  expect(first.headers.get('cache-status')).toContain('fwd=miss');
  const hit = await app.getUntil('/posts', 'acme', isHit);
  const posts = await hit.json();
  expect(posts).toEqual([expect.objectContaining({ title: 'Hello' })]);
  expect(posts).toEqual(await first.json());

  const other = await app.get('/posts', 'globex');
  expect(other.headers.get('cache-status')).toContain('fwd=miss');
  expect(await other.json()).toEqual([expect.objectContaining({ title: 'Hi' })]);
  expect((await app.get('/posts')).status).toBe(400);

  await database.pool.query(`UPDATE posts SET title = 'Changed' WHERE id = 1`);
  expect(await (await app.get('/posts', 'acme')).json()).toEqual([expect.objectContaining({ title: 'Changed' })]);
}

/** What applications with the optional integrations must do as well. */
export async function expectIntegrated(app: ServedApp): Promise<void> {
  const health = await app.get('/health');
  expect(await health.json()).toMatchObject({ details: { cache: { problems: [] } } });
  expect(health.status).toBe(200);
  expect(await (await app.get('/metrics')).text()).toMatch(
    /^fraiseql_cache_hits_total\{.*view_name="PostsService.latest".*\} [1-9]/m,
  );
  expect(await (await app.get('/intervals')).json()).toContain('nestjs-result-cache:purge');
}

function isHit(response: Response): boolean {
  return response.headers.get('cache-status')?.includes('; hit;') ?? false;
}
