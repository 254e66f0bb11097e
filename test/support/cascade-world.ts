import { CascadeService, type CascadeRule, type EntryOptions } from 'nestjs-result-cache';
import type pg from 'pg';
import { closeCaches, openCache, type TestCache } from './caches.js';
import { createDatabase, type TestDatabase } from './database.js';
import { installSettled } from './settled.js';

const TABLES = `
  CREATE TYPE standing AS ENUM ('new', 'trusted');
  CREATE TABLE users (id int PRIMARY KEY, name text, email text, published boolean NOT NULL DEFAULT false, level int,
    standing standing, ref uuid, best_friend_id int, note json);
  CREATE TABLE posts (id int PRIMARY KEY, author_id bigint, editor_id int, tenant_id text, title text);
  CREATE TABLE comments (id int PRIMARY KEY, post_id int, text text);
  CREATE TABLE likes (id int PRIMARY KEY, comment_id int);
  CREATE TABLE codes (code text PRIMARY KEY, owner text);`;

const watch = [
  { table: 'users', domain: 'user', tagColumns: [['best_friend_id']] },
  { table: 'posts', domain: 'post', tenantColumn: 'tenant_id', tagColumns: [['author_id'], ['editor_id']] },
  { table: 'comments', domain: 'comment', tagColumns: [['post_id']] },
  { table: 'likes', domain: 'like' },
  { table: 'codes', domain: 'code', tagColumns: [['owner']] },
];

/** A database with users, posts and comments, and two processes on it. */
export class CascadeWorld {
  private count = 0;

  private constructor(
    readonly database: TestDatabase,
    readonly one: TestCache,
    readonly two: TestCache,
    readonly cascade: CascadeService,
  ) {}

  static async open(): Promise<CascadeWorld> {
    const database = await createDatabase();
    await database.pool.query(TABLES);
    await installSettled(database);
    const one = await openCache(database, { watch });
    const two = await openCache(database);
    return new CascadeWorld(database, one, two, new CascadeService(one.cache, one.store));
  }

  async close(): Promise<void> {
    await closeCaches();
    await this.database.drop();
  }

  /** No rules, and the same rows. */
  async reset(): Promise<void> {
    await this.sql(`DELETE FROM fraiseql_cache.cascade_rules; DELETE FROM fraiseql_cache.cascade_detail;
      TRUNCATE users, posts, comments, likes, codes;
      INSERT INTO users (id, name, email, published, level, standing) SELECT n, 'n' || n, 'e' || n, n < 3, n, 'new' FROM generate_series(1, 300) n;
      INSERT INTO posts SELECT n, n, n + 1, 't', 'x' FROM generate_series(1, 300) n;
      INSERT INTO comments SELECT n, n, '' FROM generate_series(1, 5) n;
      INSERT INTO codes SELECT 'c' || n, 'o' || n FROM generate_series(1, 5) n`);
  }

  async sql(text: string, values?: unknown[]): Promise<pg.QueryResult> {
    return this.database.pool.query(text, values);
  }

  async register(...rules: CascadeRule[]): Promise<void> {
    await this.cascade.register(rules);
  }

  /** A connection of its own, given back whatever happens. */
  async connected<T>(work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
    const client = await this.database.pool.connect();
    try {
      return await work(client);
    } finally {
      client.release(true);
    }
  }

  /** Cache entries with these dependencies in both processes, write, and tell which are computed again: in both alike. */
  async voids<Name extends string>(
    entries: Readonly<Record<Name, EntryOptions>>,
    write: string | (() => Promise<unknown>),
  ): Promise<Name[]> {
    const cached = await this.cached(entries);
    await (typeof write === 'string' ? this.sql(write) : write());
    return cached();
  }

  /** Cache entries; the function returned tells which of them are void now. */
  async cached<Name extends string>(entries: Readonly<Record<Name, EntryOptions>>): Promise<() => Promise<Name[]>> {
    const run = `cascade ${++this.count}`;
    const names = Object.keys(entries) as Name[];
    const read = async ({ cache }: TestCache, name: Name): Promise<boolean> => {
      let computed = false;
      await cache.getOrSet(`${run} ${name}`, async () => (computed = true), { ttl: 600, ...entries[name] });
      return computed;
    };
    for (const process of [this.one, this.two]) {
      for (const name of names) await read(process, name);
      await process.cache.drain();
    }
    for (const process of [this.one, this.two])
      for (const name of names) if (await read(process, name)) throw new Error(`${name} is not cached`);
    return async () => {
      // The first to look stores the value anew, and the second may be served that: so each looks at the tags it has.
      const gone = await Promise.all(
        names.map(async (name) => ((await this.two.cache.exists(`${run} ${name}`)) ? [] : [name])),
      );
      const computed: Name[] = [];
      for (const name of names) if (await read(this.one, name)) computed.push(name);
      if (computed.join() !== gone.flat().join())
        throw new Error(`the processes disagree: ${computed.join()} and ${gone.flat().join()}`);
      await this.one.cache.drain();
      return computed;
    };
  }
}
