import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { CacheConfigurationError, EVENT_CHANNEL, type CacheEvent, type WatchedTable } from 'nestjs-result-cache';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { closeCaches, openCache, type TestCache } from './support/caches.js';
import { catalogueRows } from './support/catalogue.js';
import { createDatabase, type TestDatabase } from './support/database.js';

let database: TestDatabase;
let told: CacheEvent[];
const listen = (event: unknown): void => void told.push(event as CacheEvent);

beforeEach(async () => {
  told = [];
  subscribe(EVENT_CHANNEL, listen);
  database = await createDatabase();
  await database.pool.query(`
    CREATE TABLE users (id int PRIMARY KEY, tenant_id text NOT NULL, name text);
    INSERT INTO users VALUES (1, 'acme', 'Ada'), (2, 'globex', 'Bob');
    CREATE VIEW people AS SELECT * FROM users;
    CREATE TABLE events (id int NOT NULL, day int NOT NULL) PARTITION BY RANGE (day);
    CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (1) TO (2);
    CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM (2) TO (3);
    CREATE TABLE vehicles (id int PRIMARY KEY);
    CREATE TABLE cars (doors int) INHERITS (vehicles);`);
});

afterEach(async () => {
  unsubscribe(EVENT_CHANNEL, listen);
  await closeCaches();
  await database.drop();
});

const sql = (text: string): Promise<unknown> => database.pool.query(text);

/** Store a value that depends on a domain, and be sure that it is served. */
async function keep({ cache }: TestCache, domain: string): Promise<void> {
  await cache.getOrSet(domain, async () => 'kept', { domains: [domain] });
  await cache.drain();
  expect(await cache.exists(domain)).toBe(true);
}

/** Whether a value of a domain is cached at all now. */
async function isCached({ cache }: TestCache, domain: string): Promise<boolean> {
  let calls = 0;
  for (let attempt = 0; attempt < 2; attempt++) {
    await cache.getOrSet(domain, async () => ++calls, { domains: [domain] });
    await cache.drain();
  }
  return calls < 2;
}

/** A write must void what depends on the domain, at once. */
async function expectVoidedBy(one: TestCache, domain: string, write: string): Promise<void> {
  await keep(one, domain);
  await sql(write);
  expect([write, await one.cache.exists(domain)]).toEqual([write, false]);
}

describe('a watched table', () => {
  const users = { table: 'users', domain: 'user' };

  it('is voided by every kind of write, and by none that changes no row', async () => {
    const one = await openCache(database, { watch: [users] });
    await expectVoidedBy(one, 'user', `INSERT INTO users VALUES (3, 'acme', 'Cy')`);
    await expectVoidedBy(one, 'user', `UPDATE users SET name = 'x' WHERE id = 3`);
    await expectVoidedBy(one, 'user', `DELETE FROM users WHERE id = 3`);
    await expectVoidedBy(
      one,
      'user',
      `BEGIN; SET LOCAL session_replication_role = replica; UPDATE users SET name = 'y'; COMMIT`,
    );
    await expectVoidedBy(one, 'user', 'TRUNCATE users');
    await keep(one, 'user');
    await sql('UPDATE users SET name = name WHERE false');
    expect(await one.cache.exists('user')).toBe(true);
  });

  it('stays as it is when it is watched again in the same way', async () => {
    const one = await openCache(database, { watch: [users] });
    await keep(one, 'user');
    const before = await catalogueRows(database.pool);
    expect(await database.pool.query(`SELECT fraiseql_cache.watch('users', 'user') AS done`)).toMatchObject({
      rows: [{ done: false }],
    });
    expect(await catalogueRows(database.pool)).toEqual(before);
    expect(await one.cache.exists('user')).toBe(true);
  });

  it.each([
    ['another tag column', { ...users, tagColumns: [['name']] }],
    ['a tenant column', { ...users, tenantColumn: 'tenant_id' }],
    ['another domain', { table: 'users', domain: 'person' }],
  ])('is set up anew for %s, which voids what was there', async (_, changed: WatchedTable) => {
    const one = await openCache(database, { watch: [users] });
    await keep(one, 'user');
    const other = await openCache(database, { watch: [changed] });
    expect(await one.cache.exists('user')).toBe(false);
    await expectVoidedBy(other, changed.domain, 'UPDATE users SET name = name');
    expect([...(await other.store.audit())]).toEqual([[changed.domain, null]]);
  });

  it.each([
    [
      { table: 'nobody', domain: 'x' },
      `watch: relation "nobody" does not exist; create the table before the cache starts, or write its name as SQL would: 'users', 'blog.users', '"Users"'`,
    ],
    [{ table: 'nowhere.users', domain: 'x' }, /^watch: relation "nowhere.users" does not exist; create the table/],
    [{ table: 'a b', domain: 'x' }, /^watch: .*; create the table/],
    [
      { table: 'users', domain: 'x', tenantColumn: 'org' },
      'watch: table public.users has no column "org"; name its tenant column, or NULL if it has none',
    ],
    [{ table: 'people', domain: 'x' }, 'watch: public.people is not a table; watch the tables behind it instead'],
  ])('is refused in one line where it cannot be watched: %j', async (table, message) => {
    const opening = openCache(database, { watch: [table] });
    await expect(opening).rejects.toThrow(CacheConfigurationError);
    await expect(opening).rejects.toThrow(message);
  });
});

describe('a table with partitions', () => {
  const watch = [{ table: 'events', domain: 'event' }];

  it('is voided by a write to it and by one to a partition', async () => {
    const one = await openCache(database, { watch });
    await expectVoidedBy(one, 'event', 'INSERT INTO events VALUES (1, 1)');
    await expectVoidedBy(one, 'event', 'INSERT INTO events_2 VALUES (1, 2)');
    await expectVoidedBy(one, 'event', 'UPDATE events SET day = 2 WHERE day = 1');
    await expectVoidedBy(one, 'event', 'TRUNCATE events_2');
  });

  it('is not cached once a partition without triggers was found, and again when it was watched', async () => {
    const one = await openCache(database, { watch });
    await keep(one, 'event');
    await sql('CREATE TABLE events_3 PARTITION OF events FOR VALUES FROM (3) TO (4)');
    await one.cache.purge();
    expect(await isCached(one, 'event')).toBe(false);
    expect(await isCached(one, 'event')).toBe(false);
    const complaints = told.flatMap((event) => (event.type === 'untracked' ? [event.message] : []));
    expect(complaints).toEqual([expect.stringContaining('events_3: a partition or child table without triggers')]);

    await openCache(database, { watch });
    await one.cache.purge();
    await expectVoidedBy(one, 'event', 'INSERT INTO events_3 VALUES (1, 3)');
  });

  it('forgets a partition that was dropped, and voids what was read from it', async () => {
    const one = await openCache(database, { watch });
    await keep(one, 'event');
    await sql('DROP TABLE events_2');
    await one.cache.purge();
    expect(await one.cache.exists('event')).toBe(false);
    expect([...(await one.store.audit())]).toEqual([['event', null]]);
    expect((await database.pool.query('SELECT FROM fraiseql_cache.watched')).rows).toHaveLength(2);
    await keep(one, 'event');
  });
});

it('a table with inheritance children is voided by a write to a child', async () => {
  const one = await openCache(database, { watch: [{ table: 'vehicles', domain: 'vehicle' }] });
  await expectVoidedBy(one, 'vehicle', 'INSERT INTO cars VALUES (1, 5)');
  await expectVoidedBy(one, 'vehicle', 'UPDATE vehicles SET id = 2');
});

describe('triggers that somebody touched', () => {
  const watch = [{ table: 'users', domain: 'user' }];

  it.each([
    [
      'disabled',
      'ALTER TABLE users DISABLE TRIGGER fraiseql_cache_update',
      'ENABLE ALWAYS TRIGGER fraiseql_cache_update',
    ],
    [
      'not ALWAYS',
      'ALTER TABLE users ENABLE TRIGGER fraiseql_cache_update',
      'ENABLE ALWAYS TRIGGER fraiseql_cache_update',
    ],
    ['disabled together', 'ALTER TABLE users DISABLE TRIGGER USER', 'ENABLE ALWAYS TRIGGER USER'],
  ])(
    '%s: the domain is not cached, and what was missed meanwhile is not served later',
    async (_, breaking, healing) => {
      const one = await openCache(database, { watch });
      await keep(one, 'user');
      await sql(breaking);
      await one.cache.purge();
      // Not even by its key: what is stored may have been missed by a write already.
      expect(await one.cache.exists('user')).toBe(false);
      expect(await isCached(one, 'user')).toBe(false);
      await sql(`UPDATE users SET name = 'missed'`);
      if (healing.endsWith('USER'))
        for (const operation of ['insert', 'update', 'delete', 'truncate'])
          await sql(`ALTER TABLE users ENABLE ALWAYS TRIGGER fraiseql_cache_${operation}`);
      else await sql(`ALTER TABLE users ${healing}`);

      // A process that starts now looks before it serves; one that knew looks with its next purge.
      const late = await openCache(database, { watch });
      expect(await late.cache.getOrSet('user', async () => 'computed', { domains: ['user'] })).toBe('computed');
      await one.cache.purge();
      await expectVoidedBy(one, 'user', 'UPDATE users SET name = name');
    },
  );

  it('dropped: watching again at the next start makes them anew', async () => {
    const one = await openCache(database, { watch });
    await sql('DROP TRIGGER fraiseql_cache_delete ON users');
    expect((await one.store.audit()).get('user')).toBe('users: trigger fraiseql_cache_delete is missing');
    await openCache(database, { watch });
    await expectVoidedBy(one, 'user', 'DELETE FROM users WHERE id = 1');
  });

  it('gone with the table: a table made anew is watched at the next start', async () => {
    const one = await openCache(database, { watch });
    await sql('DROP TABLE users CASCADE; CREATE TABLE users (id int PRIMARY KEY)');
    const problem = (await one.store.audit()).get('user')!;
    expect(problem).toMatch(/it no longer exists; if that is meant: SELECT fraiseql_cache\.unwatch\(\d+\)/);
    await openCache(database, { watch });
    expect([...(await one.store.audit())]).toEqual([['user', null]]);
    await expectVoidedBy(one, 'user', 'INSERT INTO users VALUES (1)');
  });

  it('gone for good: the statement of the audit ends the matter', async () => {
    const one = await openCache(database, { watch: [...watch, { table: 'events', domain: 'user' }] });
    await sql('DROP TABLE users CASCADE');
    await sql(/SELECT .*\)/.exec((await one.store.audit()).get('user')!)![0]);
    expect([...(await one.store.audit())]).toEqual([['user', null]]);
  });
});

describe('from SQL alone', () => {
  it('setup_table_invalidation watches a table, found by the caller’s search_path', async () => {
    const one = await openCache(database);
    await sql('CREATE SCHEMA blog; CREATE TABLE blog.notes (id int PRIMARY KEY, tenant_id text)');
    await sql(
      `SET search_path = blog, public; SELECT fraiseql_cache.setup_table_invalidation('notes', 'note', 'tenant_id')`,
    );
    await expectVoidedBy(one, 'note', `INSERT INTO blog.notes VALUES (1, 'acme')`);
  });

  it('unwatch removes triggers and functions of a table and its partitions', async () => {
    const one = await openCache(database, { watch: [{ table: 'events', domain: 'event' }] });
    await keep(one, 'event');
    await sql(`SELECT fraiseql_cache.unwatch('events')`);
    expect(await one.cache.exists('event')).toBe(false);
    await one.cache.purge();
    expect(await isCached(one, 'event')).toBe(false);
    const { rows } = await database.pool.query(`
      SELECT tgname FROM pg_trigger WHERE tgname LIKE 'fraiseql%'
      UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = 'fraiseql_cache'::regnamespace AND proname ~ '^touch_[0-9]'`);
    expect(rows).toEqual([]);
  });
});
