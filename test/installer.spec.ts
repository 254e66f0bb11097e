import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals';
import {
  CacheConfigurationError,
  installScript,
  NotInstalledError,
  PostgresCache,
  systemClock,
  type PostgresCacheOptions,
} from 'nestjs-result-cache';
import { once } from 'node:events';
import pg from 'pg';
import { migrations } from '../libs/result-cache/src/postgres/sql.js';
import { closeApplications, startApplication } from './support/application.js';
import { closeCaches, openCache, type TestCache } from './support/caches.js';
import { catalogue, catalogueRows } from './support/catalogue.js';
import { compileLibrary, type CompiledLibrary } from './support/compiled.js';
import { createDatabase, serverUrl, type TestDatabase } from './support/database.js';
import { createRole, type TestRole } from './support/role.js';

let database: TestDatabase;
const watch = [{ table: 'users', domain: 'user', tenantColumn: 'tenant_id' }];
const roles: TestRole[] = [];

beforeEach(async () => {
  database = await createDatabase();
  await database.pool.query('CREATE TABLE users (id int PRIMARY KEY, tenant_id text NOT NULL, name text NOT NULL)');
});

afterEach(async () => {
  jest.restoreAllMocks();
  await closeApplications();
  await closeCaches();
  for (const role of roles) await role.pool.end();
  await database.drop();
  const server = new pg.Pool({ connectionString: serverUrl(), max: 1 });
  for (const role of roles.splice(0)) await role.drop(server);
  await server.end();
});

async function role(rights?: { create?: boolean }): Promise<TestRole> {
  const made = await createRole(database, rights);
  roles.push(made);
  return made;
}

/** Run what a warning says, as the administrator who reads it would: all but the comments. */
async function run(statements: readonly string[]): Promise<void> {
  for (const statement of statements) if (!statement.startsWith('--')) await database.pool.query(statement);
}

async function notInstalled(options: Partial<PostgresCacheOptions>): Promise<NotInstalledError> {
  const error: unknown = await openCache(database, options).catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(NotInstalledError);
  return error as NotInstalledError;
}

/** Let the database's pause between two attempts pass. */
function passTime(): (ms: number) => void {
  const real = systemClock.monotonic;
  let passed = 0;
  jest.spyOn(systemClock, 'monotonic').mockImplementation(() => real() + passed);
  return (ms) => void (passed += ms);
}

describe('16 processes starting at once', () => {
  let library: CompiledLibrary;
  beforeAll(async () => void (library = await compileLibrary()));
  afterAll(() => library.remove());

  const starter = `
    import { PostgresCache } from './postgres/index.js';
    process.on('message', async (options) => {
      const store = new PostgresCache(options);
      const answer = await store.initialize().then(() => store.audit()).then((report) => [...report], (error) => error.message);
      await store.close();
      process.send({ answer }, () => process.disconnect());
    });
    process.send('ready');`;

  it('none fails, and the objects are made once', async () => {
    const processes = await Promise.all(Array.from({ length: 16 }, () => library.fork('starter.js', starter)));
    await Promise.all(processes.map((child) => once(child, 'message')));
    const answers = processes.map((child) => once(child, 'message'));
    for (const child of processes) child.send({ connection: database.url, watch });
    for (const [message] of await Promise.all(answers)) expect(message).toEqual({ answer: [['user', null]] });
    const { rows } = await database.pool.query(
      `SELECT count(*)::int AS migrations, count(DISTINCT applied_at)::int AS transactions,
              (SELECT count(*)::int FROM fraiseql_cache.caches) AS caches, (SELECT count(*)::int FROM fraiseql_cache.watched) AS watched
         FROM fraiseql_cache.migration`,
    );
    expect(rows).toEqual([{ migrations: migrations().length, transactions: 1, caches: 1, watched: 1 }]);
  });

  it('works for 16 pools of one process too, each with a table of its own', async () => {
    await Promise.all(Array.from({ length: 16 }, (_, n) => openCache(database, { watch, tableName: `cache_${n}` })));
    const { rows } = await database.pool.query('SELECT count(*)::int AS caches FROM fraiseql_cache.caches');
    expect(rows).toEqual([{ caches: 16 }]);
  });
});

describe('a start on an installed database', () => {
  it('runs no DDL and waits for no lock', async () => {
    await openCache(database, { watch });
    await database.pool.query(`INSERT INTO users VALUES (1, 'acme', 'Ada')`);
    const before = await catalogueRows(database.pool);
    const writer = await database.pool.connect();
    try {
      await writer.query('BEGIN');
      await writer.query('UPDATE users SET name = name');
      await writer.query('LOCK TABLE fraiseql_cache.caches, fraiseql_cache.watched IN ROW EXCLUSIVE MODE');
      await writer.query(
        `SELECT pg_advisory_xact_lock(hashtext('fraiseql_cache.' || name)) FROM unnest(ARRAY['install', 'caches', 'watch']) AS l (name)`,
      );
      // A start that needs one of these locks would be cancelled here.
      const connection = { connectionString: database.url, statement_timeout: 5_000 };
      const { store } = await openCache(database, { watch, connection });
      expect(await store.audit()).toEqual(new Map([['user', null]]));
    } finally {
      await writer.query('ROLLBACK');
      writer.release();
    }
    expect(await catalogueRows(database.pool)).toEqual(before);
  });

  it('only ever raises the longest life of an entry', async () => {
    await openCache(database, { maxTtl: 600 });
    await closeCaches();
    await openCache(database, { maxTtl: 900 });
    await closeCaches();
    await openCache(database, { maxTtl: 60 });
    const { rows } = await database.pool.query('SELECT max_ttl FROM fraiseql_cache.caches');
    expect(rows).toEqual([{ max_ttl: 900 }]);
  });

  it('survives its connection being cut while it waits for another installer', async () => {
    const other = await database.pool.connect();
    try {
      await other.query('BEGIN');
      await other.query(`SELECT pg_advisory_xact_lock(hashtext('fraiseql_cache.install'))`);
      const failed = expect(openCache(database, { tableName: 'another' })).rejects.toThrow(/terminat/);
      for (let cut = 0; cut === 0;)
        cut = (
          await database.pool.query(
            `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
              WHERE datname = current_database() AND application_name = 'nestjs-result-cache' AND wait_event_type = 'Lock'`,
          )
        ).rowCount!;
      await failed;
    } finally {
      await other.query('ROLLBACK');
      other.release();
    }
  });
});

describe('autoInitialize: false', () => {
  it('creates nothing, and says how it is installed', async () => {
    const plain = await createDatabase({ extension: false });
    const store = new PostgresCache({ connection: plain.url, autoInitialize: false });
    await expect(store.initialize()).rejects.toThrow(/autoInitialize is off\. Run:\n {2}-- .*installScript\(\)/);
    const { rows } = await plain.pool.query(`SELECT FROM pg_namespace WHERE nspname = 'fraiseql_cache'`);
    expect(rows).toEqual([]);
    await store.close();
    await plain.drop();
  });

  it('works where everything is installed, and names each table that is not watched', async () => {
    await openCache(database, { watch });
    await openCache(database, { watch, autoInitialize: false });
    await database.pool.query('CREATE TABLE posts (id int PRIMARY KEY); CREATE TABLE tags (id int PRIMARY KEY)');
    const more = [...watch, { table: 'posts', domain: 'post' }, { table: 'tags', domain: "tag's" }];
    const { statements, message } = await notInstalled({ watch: more, autoInitialize: false });
    expect(message).toContain('no triggers yet on posts, tags');
    expect(statements).toHaveLength(2);
    await run(statements);
    const { store } = await openCache(database, { watch: more, autoInitialize: false });
    expect([...(await store.audit()).values()]).toEqual([null, null, null]);
  });
});

describe('a role without rights', () => {
  it('computes, caches nothing, warns once, and works without a restart when the statements were run', async () => {
    const plain = await role();
    await database.pool.query(`ALTER TABLE users OWNER TO ${plain.name}`);
    const pass = passTime();
    const { app, names, cached, warnings } = await startApplication({ connection: plain.url, watch });
    expect(await names.names()).toBe(1);
    expect(await names.names()).toBe(2);
    expect(await names.rename()).toBe('done');
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain('The cache is off, methods compute.');

    const { reason } = app.get(PostgresCache).availability as { reason: NotInstalledError };
    for (const statement of reason.statements) expect(warnings[0]).toContain(statement);
    await run(reason.statements);
    pass(1_000);
    await cached();
    expect(warnings).toHaveLength(1);
  });

  it('says also what it may not do about a table of somebody else', async () => {
    const plain = await createDatabase({ extension: false });
    await plain.pool.query('CREATE TABLE users (id int PRIMARY KEY, tenant_id text)');
    const owner = await createRole(plain, { create: true });
    const open = (): Promise<TestCache> => openCache(plain, { connection: owner.url, watch });
    const statement = "SELECT fraiseql_cache.watch('users', 'user', 'tenant_id', NULL);";
    await expect(open()).rejects.toMatchObject({ statements: [statement] });
    await plain.pool.query(statement);
    expect(await (await open()).store.audit()).toEqual(new Map([['user', null]]));
    await closeCaches();
    await owner.pool.end();
    await plain.drop();
    await owner.drop(database.pool);
  });

  it('may use what is not its own, without DDL', async () => {
    const plain = await role();
    await openCache(database, { watch });
    const { statements } = await notInstalled({ connection: plain.url, watch });
    expect(
      statements.filter(
        (statement) => !/^(GRANT (USAGE|SELECT)|SELECT fraiseql_cache\.(watch|allow_use))/.test(statement),
      ),
    ).toEqual([]);
    await run(statements);
    const before = await catalogueRows(database.pool);

    const { store, cache } = await openCache(database, { connection: plain.url, watch });
    const policy = { domains: ['user'] };
    await cache.getOrSet('k', async () => 1, policy);
    await cache.drain();
    expect(await cache.exists('k')).toBe(true);
    await database.pool.query(`INSERT INTO users VALUES (1, 'acme', 'Ada')`);
    expect(await cache.exists('k')).toBe(false);
    expect(await cache.set('k', 2)).toBe(true);
    expect(await cache.delete('k')).toBe(true);
    expect(await cache.invalidatePattern('nothing*')).toBe(0);
    await cache.invalidate({ domains: ['user'] });
    expect(await store.purge()).toEqual({ entries: 0, logRows: expect.any(Number) });
    expect(await cache.getStats()).toMatchObject({ totalEntries: expect.any(Number) });
    // Nor can it write past the functions: a row of its making would be believed.
    for (const table of ['log', 'fraiseql_cache', 'incarnation', 'watched'])
      await expect(plain.pool.query(`DELETE FROM fraiseql_cache.${table}`)).rejects.toThrow('permission denied');
    expect(await catalogueRows(database.pool)).toEqual(before);
  });

  it('proves and refences through functions as well', async () => {
    const plain = await role();
    const owner = await openCache(database, { watch });
    await owner.cache.set('k', 1);
    await run((await notInstalled({ connection: plain.url, watch })).statements);
    const { store } = await openCache(database, { connection: plain.url, watch });
    const answer = (await store.exchange({ since: null, keys: ['k'], prove: true }))!;
    expect(answer.rows).toHaveLength(1);
    await store.refence(answer.rows, answer.fence);
    const { fence } = (await store.exchange({ since: null, keys: ['k'] }))!.rows[0]!.proof;
    expect(fence).toEqual(answer.fence);
  });
});

describe('an administrator’s script', () => {
  it('leaves behind what an installation does', async () => {
    const [byScript, byItself] = [
      await createDatabase({ extension: false }),
      await createDatabase({ extension: false }),
    ];
    try {
      const options = { watch, tableName: 'answers', partitions: 2, maxTtl: 3_600 };
      for (const { pool } of [byScript, byItself])
        await pool.query('CREATE TABLE users (id int PRIMARY KEY, tenant_id text NOT NULL)');
      const plain = await role();
      await byScript.pool.query(installScript({ ...options, role: plain.name }));
      await openCache(byItself, options);
      expect(await catalogue(byScript.pool)).toEqual(await catalogue(byItself.pool));

      const url = new URL(byScript.url);
      [url.username, url.password] = [plain.name, 'secret'];
      const { store } = await openCache(byScript, { ...options, connection: url.href, autoInitialize: false });
      expect(await store.audit()).toEqual(new Map([['user', null]]));
    } finally {
      await closeCaches();
      await Promise.all([byScript.drop(), byItself.drop()]);
    }
  });

  it('changes nothing where it cannot be finished', async () => {
    const plain = await createDatabase({ extension: false });
    await expect(plain.pool.query(installScript({ watch }))).rejects.toThrow('relation "users" does not exist');
    const { rows } = await plain.pool.query(`SELECT FROM pg_namespace WHERE nspname = 'fraiseql_cache'`);
    expect(rows).toEqual([]);
    await plain.drop();
  });
});

describe('what is in the way', () => {
  it('is not built upon: a schema with somebody’s functions in it', async () => {
    const plain = await createDatabase({ extension: false });
    await plain.pool.query(
      `CREATE SCHEMA fraiseql_cache; CREATE FUNCTION fraiseql_cache.domain_tag(text, text DEFAULT '') RETURNS text LANGUAGE sql RETURN 'x'`,
    );
    await expect(openCache(plain)).rejects.toThrow('holds objects that are not this package’s');
    await closeCaches();
    await plain.drop();
  });

  it('is not read: a schema that another ordinary role made', async () => {
    const plain = await createDatabase({ extension: false });
    const stranger = await role();
    await plain.pool.query(`
      CREATE SCHEMA fraiseql_cache AUTHORIZATION ${stranger.name};
      CREATE TABLE fraiseql_cache.trap (sprung bool);
      CREATE FUNCTION fraiseql_cache.spring() RETURNS text LANGUAGE sql AS $$ INSERT INTO fraiseql_cache.trap VALUES (true) RETURNING '' $$;
      CREATE VIEW fraiseql_cache.migration AS SELECT fraiseql_cache.spring() AS name`);
    await expect(openCache(plain)).rejects.toThrow(`belongs to ${stranger.name}`);
    expect((await plain.pool.query('SELECT * FROM fraiseql_cache.trap')).rows).toEqual([]);
    await closeCaches();
    await plain.drop();
  });

  it('is left alone: a table of the name that is no cache', async () => {
    await database.pool.query('CREATE TABLE mine (id int); INSERT INTO mine VALUES (1)');
    const opening = openCache(database, { tableName: 'public.mine' });
    await expect(opening).rejects.toThrow(CacheConfigurationError);
    await expect(opening).rejects.toThrow(
      /^tableName: table public\.mine exists already and is not a cache; choose another/,
    );
    expect((await database.pool.query('SELECT * FROM mine')).rows).toEqual([{ id: 1 }]);
  });

  it('is named: a schema that does not exist', async () => {
    await expect(openCache(database, { tableName: 'nowhere.cache' })).rejects.toThrow(
      'tableName: schema "nowhere" does not exist; create it before the cache starts: CREATE SCHEMA "nowhere"',
    );
  });
});

describe('a table in 4 partitions', () => {
  it('is UNLOGGED in every one, serves, and is purged', async () => {
    const { store, cache } = await openCache(database, { watch, tableName: 'parts', partitions: 4 });
    const { rows } = await database.pool.query(
      `SELECT relpersistence, count(*)::int FROM pg_inherits JOIN pg_class ON oid = inhrelid WHERE inhparent = 'fraiseql_cache.parts'::regclass AND relkind = 'r' GROUP BY 1`,
    );
    expect(rows).toEqual([{ relpersistence: 'u', count: 4 }]);
    const keys = Array.from({ length: 40 }, (_, n) => `k${n}`);
    await cache.setMany(keys.map((key) => [key, key]));
    expect((await cache.getMany(keys)).size).toBe(40);
    const { rows: used } = await database.pool.query('SELECT DISTINCT tableoid FROM fraiseql_cache.parts');
    expect(used).toHaveLength(4);
    expect(await store.stats()).toMatchObject({ totalEntries: 40, expiredEntries: 0 });
    expect((await store.stats()).tableSizeBytes).toBeGreaterThan(4 * 8_192);
    await database.pool.query(`UPDATE fraiseql_cache.parts SET expires_at = now() - interval '1 s'`);
    expect((await store.purge()).entries).toBe(40);
    await store.vacuum();
  });
});
