import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { startServer, type EmbeddedServer } from '@workspace/embedded-server';
import { EVENT_CHANNEL, systemClock, type CacheEvent } from 'nestjs-result-cache';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { createServer, type Socket } from 'node:net';
import pg from 'pg';
import { closeApplications, startApplication } from './support/application.js';
import { closeCaches, openCache, settle } from './support/caches.js';
import { createDatabase, type TestDatabase } from './support/database.js';

/** A server of this spec's own, because it is halted and crashed. */
let server: EmbeddedServer;
let database: TestDatabase;
let passed: number;
const watch = [{ table: 'users', domain: 'user' }];
const user = { domains: ['user'] };

beforeAll(async () => {
  server = await startServer({ settings: { max_prepared_transactions: 5 } });
});

afterAll(() => server.stop());

beforeEach(async () => {
  database = await createDatabase({ server: server.url() });
  await database.pool.query(`CREATE TABLE users (id int PRIMARY KEY, name text); INSERT INTO users VALUES (1, '0')`);
  const real = systemClock.monotonic;
  passed = 0;
  jest.spyOn(systemClock, 'monotonic').mockImplementation(() => real() + passed);
});

afterEach(async () => {
  await closeApplications();
  await closeCaches();
  jest.restoreAllMocks();
  await database.drop();
});

/** The name in the database, asked on a connection of its own. */
async function name(): Promise<string> {
  const client = new pg.Client({ connectionString: database.url });
  client.on('error', () => undefined);
  await client.connect();
  try {
    return (await client.query<{ name: string }>('SELECT name FROM users')).rows[0]!.name;
  } finally {
    await client.end();
  }
}

/** Let nobody into the database while `work` runs. Not by a restart, which would void everything anyway. */
async function closed(work: () => Promise<void>): Promise<void> {
  const administrator = new pg.Client({ connectionString: server.url() });
  await administrator.connect();
  try {
    await administrator.query(`ALTER DATABASE ${database.name} WITH ALLOW_CONNECTIONS false`);
    await administrator.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1', [
      database.name,
    ]);
    await work();
  } finally {
    await administrator.query(`ALTER DATABASE ${database.name} WITH ALLOW_CONNECTIONS true`);
    await administrator.end();
  }
}

/** Repeat until it is so; how often depends on the machine. */
async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise(setImmediate);
}

describe('a cache database that cannot be reached', () => {
  it('does not keep an application from starting, and is used as soon as it is there', async () => {
    await server.halt();
    const { names, cache, cached, warnings } = await startApplication({ connection: database.url, watch });
    try {
      expect(await Promise.all([names.names(), names.names()])).toEqual([1, 1]);
      expect(await names.names()).toBe(2);
      expect(await names.rename()).toBe('done');
      expect(await cache.get('k')).toBeUndefined();
      expect(warnings).toEqual([expect.stringMatching(/^The cache's database cannot be used \(.*ECONNREFUSED/)]);
    } finally {
      await server.restart();
    }
    passed += 1_000;
    await cached();
    expect(warnings).toHaveLength(1);
  });

  it('is asked by one probe a second, so that nobody waits for a host that does not answer', async () => {
    const sockets: Socket[] = [];
    const hole = createServer((socket) => void sockets.push(socket));
    await new Promise<void>((resolve) => hole.listen(0, '127.0.0.1', resolve));
    const { port } = hole.address() as { port: number };
    const connection = { host: '127.0.0.1', port, connectionTimeoutMillis: 100 };
    const frozen = systemClock.monotonic();
    jest.spyOn(systemClock, 'monotonic').mockImplementation(() => frozen + passed);
    try {
      const { names } = await startApplication({ connection, watch });
      const call = (): Promise<unknown> => Promise.all(Array.from({ length: 50 }, () => names.names()));
      // Callers are sent away in time, which may be before the one who tries has got through to the other side.
      const attempts = async (count: number): Promise<void> => {
        await until(async () => sockets.length >= count);
        expect(sockets.length).toBe(count);
      };
      await call();
      await attempts(1);
      passed += 1_000;
      await call();
      await attempts(2);
      // Each time all who had asked share what is computed.
      expect(names.calls).toBe(2);
    } finally {
      for (const socket of sockets) socket.destroy();
      hole.close();
    }
  });

  it('is owed the invalidations of meanwhile, and gets them before anything is read again', async () => {
    const { names, cached } = await startApplication({ connection: database.url, watch });
    await settle((await openCache(database, { watch })).store);
    await cached();
    const other = await openCache(database, { watch });
    await other.cache.getOrSet('of another process', async () => 1, user);
    await other.cache.getOrSet('untouched', async () => 1, { tags: ['other'] });
    await other.cache.drain();
    await closed(async () => expect(await names.rename()).toBe('done'));
    passed += 1_000;
    const { calls } = names;
    await cached();
    expect(names.calls).toBeGreaterThan(calls);
    const late = await openCache(database, { watch });
    expect(await late.cache.exists('untouched')).toBe(true);
    expect(await late.cache.exists('of another process')).toBe(false);
  });

  it('gets them also if nobody reads', async () => {
    const application = await startApplication({ connection: database.url, watch });
    const { cache } = await openCache(database, { watch });
    await cache.getOrSet('k', async () => 1, { tags: ['prices'] });
    await cache.getOrSet('untouched', async () => 1, { tags: ['other'] });
    await cache.drain();
    await closed(async () => {
      for (let n = 0; n < 100; n++) await application.cache.invalidateTags('prices', `other ${n}`);
    });
    passed += 1_000;
    const late = await openCache(database, { watch });
    await until(async () => !(await late.cache.exists('k')));
    expect(await late.cache.exists('untouched')).toBe(true);
  });
});

describe('connections that are cut', () => {
  it('cost a computation at most, never an error', async () => {
    const { names, cached } = await startApplication({ connection: database.url, watch });
    await cached();
    for (let round = 0; round < 5; round++) {
      const calls = Promise.all(Array.from({ length: 20 }, () => names.names()));
      await database.pool.query(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'nestjs-result-cache' AND datname = current_database()`,
      );
      for (const value of await calls) expect(value).toEqual(expect.any(Number));
    }
    await cached();
    const before = await names.names();
    await database.pool.query(`UPDATE users SET name = 'x'`);
    expect(await names.names()).not.toBe(before);
  });

  it('do not end the process while the triggers are set up', async () => {
    const writer = await database.pool.connect();
    try {
      await writer.query('BEGIN; UPDATE users SET name = name');
      const opening = expect(openCache(database, { watch })).rejects.toThrow();
      await until(async () => {
        const { rowCount } = await database.pool.query(
          `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()`,
        );
        return rowCount === 1;
      });
      await opening;
    } finally {
      await writer.query('ROLLBACK');
      writer.release();
    }
    await openCache(database, { watch });
  });
});

describe('kill -9', () => {
  it('makes everything void under a new incarnation', async () => {
    const { cache, store } = await openCache(database, { watch });
    await cache.getOrSet('k', name, user);
    await cache.drain();
    const before = await cache.fence();
    await server.crash();
    await server.restart();
    passed += 1_000;
    await until(async () => (await cache.get('probe'), store.availability.state === 'ready'));
    await settle(store);
    expect((await cache.fence()).incarnation).not.toBe(before.incarnation);
    expect(await cache.exists('k')).toBe(false);
    // What was computed before the crash cannot be stored after it.
    expect(await cache.set('k', 'old', { ...user, fence: before })).toBe(false);
    await cache.getOrSet('k', name, user);
    await cache.drain();
    expect(await cache.exists('k')).toBe(true);
  });

  it('does not hide the write of a transaction that was prepared before it', async () => {
    const { cache, store } = await openCache(database, { watch });
    await database.pool.query(`BEGIN; UPDATE users SET name = 'prepared'; PREPARE TRANSACTION 'w'`);
    await server.crash();
    await server.restart();
    passed += 1_000;
    await until(async () => (await cache.get('probe'), store.availability.state === 'ready'));
    expect(await cache.getOrSet('k', name, user)).toBe('0');
    await cache.drain();
    await database.pool.query(`COMMIT PREPARED 'w'`);
    expect(await cache.getOrSet('k', name, user)).toBe('prepared');
  });

  it('under traffic leaves no stale read behind', async () => {
    const processes = [await openCache(database, { watch }), await openCache(database, { watch })];
    let acknowledged = 0;
    let reads = 0;
    let running = true;
    const writing = (async () => {
      for (let next = 1; running; next++) {
        // An UPDATE whose answer was lost may have been committed or not; a later one settles it.
        await database.pool.query('UPDATE users SET name = $1', [String(next)]).then(
          () => (acknowledged = next),
          () => undefined,
        );
      }
    })();
    const readers = [0, 1, 2, 3].map(async (reader) => {
      const { cache } = processes[reader % 2]!;
      while (running) {
        const least = acknowledged;
        const value = await cache.getOrSet('k', name, user).catch(() => null);
        if (value === null) continue;
        reads++;
        expect(Number(value)).toBeGreaterThanOrEqual(least);
      }
    });
    for (let round = 0; round < 3; round++) {
      const target = reads + 150;
      passed += 1_000;
      await until(async () => (await new Promise(setImmediate), reads >= target));
      if (round === 2) break;
      await server.crash();
      await server.restart();
    }
    running = false;
    await Promise.all([writing, ...readers]);
  });
});

describe('a value that the server refuses', () => {
  let errors: string[];
  const listen = (message: unknown): void => {
    const event = message as CacheEvent;
    if (event.type === 'error') errors.push(`${event.operation}: ${event.error.message}`);
  };
  beforeEach(() => {
    errors = [];
    subscribe(EVENT_CHANNEL, listen);
  });
  afterEach(() => void unsubscribe(EVENT_CHANNEL, listen));
  // PostgreSQL's text cannot hold it; TenantContext refuses such an id, the engine below does not know tenants.
  const refused = 'a\0b';

  it('is returned, and not cached', async () => {
    const { cache } = await openCache(database, { watch });
    const options = { ...user, tenantId: refused };
    expect(await cache.getOrSet('k', async () => 'value', options)).toBe('value');
    await cache.drain();
    expect(await cache.set('k', 'value', { untracked: true, tenantId: refused })).toBe(false);
    expect(await cache.exists('k')).toBe(false);
    expect(errors).toEqual([expect.stringMatching(/^fill: .*0x00/), expect.stringMatching(/^fill: .*0x00/)]);
  });

  it('does not take 999 others of its batch with it', async () => {
    const { cache } = await openCache(database, { watch });
    await cache.set('warm', 1);
    const keys = Array.from({ length: 1_000 }, (_, n) => `k${n}`);
    await Promise.all(
      keys.map((key) =>
        cache.getOrSet(key, async () => key, { ...user, tenantId: key === 'k700' ? refused : undefined }),
      ),
    );
    await cache.drain();
    const found = await cache.getMany(keys);
    expect(found.size).toBe(999);
    expect(found.has('k700')).toBe(false);
    expect(errors).toHaveLength(1);
  });

  it('is not looked for where the database is gone: one attempt for the whole batch', async () => {
    const { cache, store } = await openCache(database, { watch });
    const fill = jest.spyOn(store, 'fill');
    let proceed!: () => void;
    const halted = new Promise<void>((resolve) => (proceed = resolve));
    const values = Array.from({ length: 400 }, (_, n) =>
      cache.getOrSet(`k${n}`, () => halted.then(() => n), { untracked: true }),
    );
    // All of them have their fence and compute.
    await cache.fence();
    await server.halt();
    try {
      proceed();
      await Promise.all(values);
      await cache.drain();
      expect(fill).toHaveBeenCalledTimes(1);
    } finally {
      await server.restart();
    }
  });
});

describe('a pool with a single connection', () => {
  it('serves nested computations that query through it too', async () => {
    const pool = new pg.Pool({ connectionString: database.url, max: 1 });
    pool.on('error', () => undefined);
    const { cache } = await openCache(database, { watch, connection: pool });
    const read = async (): Promise<string> =>
      (await pool.query<{ name: string }>('SELECT name FROM users')).rows[0]!.name;
    const outer = async (n: number): Promise<string> => `${n}: ${await cache.getOrSet('inner', read, user)}`;
    const values = await Promise.all(
      Array.from({ length: 50 }, (_, n) => cache.getOrSet(`outer ${n}`, () => outer(n), user)),
    );
    expect(values).toEqual(Array.from({ length: 50 }, (_, n) => `${n}: 0`));
    await cache.drain();
    await closeCaches();
    // A pool that was given is left open.
    expect(await read()).toBe('0');
    await pool.end();
  });
});

describe('a schema that somebody dropped', () => {
  it('is made anew, triggers and all, and nothing from before is served', async () => {
    const { names, cached, warnings } = await startApplication({ connection: database.url, watch });
    await cached();
    await database.pool.query('DROP SCHEMA fraiseql_cache CASCADE');
    const { calls } = names;
    await names.names();
    expect(names.calls).toBe(calls + 1);
    await cached();
    const before = await names.names();
    await database.pool.query(`UPDATE users SET name = 'x'`);
    expect(await names.names()).not.toBe(before);
    expect(warnings.filter((line) => !line.includes('does not exist'))).toEqual([]);
  });
});
