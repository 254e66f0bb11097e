import { afterAll, afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { installScript, NotInstalledError } from 'nestjs-result-cache';
import pg from 'pg';
import { closeCaches, openCache } from './support/caches.js';
import { createDatabase, serverUrl, type TestDatabase } from './support/database.js';
import { createRole, type TestRole } from './support/role.js';

const watch = [{ table: 'users', domain: 'user', tenantColumn: 'tenant_id' }];

/** Where nobody but the administrator may install: as the application's role finds it in production. */
let database: TestDatabase;
/** It owns the database: it installs, and owns what it installed and the tables that are watched. */
let owner: TestRole;
/** It uses the cache, and may write the application's tables. */
let app: TestRole;
/** It may log in. */
let stranger: TestRole;
const server = new pg.Pool({ connectionString: serverUrl(), max: 1 });

beforeEach(async () => {
  database = await createDatabase();
  owner = await createRole(database, { create: true });
  app = await createRole(database);
  stranger = await createRole(database);
  await database.pool.query(`ALTER DATABASE ${database.name} OWNER TO ${owner.name}`);
  await owner.pool.query(`CREATE TABLE users (id int PRIMARY KEY, tenant_id text, name text);
    CREATE TABLE logs (id int, tenant_id text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
    CREATE TABLE logs_0 PARTITION OF logs FOR VALUES FROM (0) TO (10);
    GRANT SELECT, INSERT, UPDATE, DELETE ON users TO ${app.name}, ${stranger.name}`);
});
afterEach(async () => {
  await closeCaches();
  const roles = [owner, app, stranger];
  for (const { pool } of roles) await pool.end();
  await database.drop();
  for (const role of roles) await role.drop(server);
});
afterAll(() => server.end());

const isExtension = (): boolean => process.env.TEST_WITH_EXTENSION === '1';

/** Install as `owner`, or as the administrator where the extension is his. */
async function install(): Promise<void> {
  if (isExtension()) {
    await openCache(database, { watch: [...watch, { table: 'logs', domain: 'log' }] });
    await database.pool.query(`GRANT USAGE ON SCHEMA fraiseql_cache TO ${app.name};
      GRANT SELECT ON fraiseql_cache.migration, fraiseql_cache.caches, fraiseql_cache.current_incarnation, fraiseql_cache.fraiseql_cache TO ${app.name};
      SELECT fraiseql_cache.allow_use('${app.name}')`);
  } else {
    const script = installScript({ watch: [...watch, { table: 'logs', domain: 'log' }], role: app.name });
    await owner.pool.query(script);
  }
}

interface Routine {
  name: string;
  definer: boolean;
  settings: string[];
  source: string;
  /** Its body was parsed when it was made: names in it mean what they meant then. */
  parsed: boolean;
  public: boolean;
  app: boolean;
}

async function routines(): Promise<Routine[]> {
  const { rows } = await database.pool.query<Routine>(
    `SELECT p.proname AS name, p.prosecdef AS definer, COALESCE(p.proconfig, '{}') AS settings, p.prosrc AS source, p.prosqlbody IS NOT NULL AS parsed,
            EXISTS (SELECT FROM aclexplode(COALESCE(p.proacl, acldefault('f', p.proowner))) a WHERE a.grantee = 0) AS public,
            has_function_privilege($1, p.oid, 'EXECUTE') AS app
       FROM pg_proc p WHERE p.pronamespace = 'fraiseql_cache'::regnamespace ORDER BY 1`,
    [app.name],
  );
  return rows;
}

describe('functions', () => {
  it('find names where they are meant to, and nowhere else', async () => {
    await install();
    const all = await routines();
    expect(all.length).toBeGreaterThan(70);
    const searching = all.filter(({ settings }) => !settings.includes('search_path=pg_catalog, pg_temp'));
    expect(searching.filter(({ definer }) => definer)).toEqual([]);
    // Whose body is a text otherwise: one that looks a table up as its caller would, and two that are immutable.
    const texts = searching.filter(({ parsed }) => !parsed).map(({ name }) => name);
    expect(texts).toEqual(['column_tag_prefix', 'setup_table_invalidation', 'tag_kind']);
  });

  it('are for nobody but who was allowed, except where PostgreSQL asks somebody else for the right', async () => {
    await install();
    const all = await routines();
    const open = all.filter((each) => each.public).map(({ name }) => name);
    // Of the second a trigger is copied to each new partition, by whoever creates the partition.
    expect(open).toEqual(['functions_for_use', expect.stringMatching(/^touch_\d+_move$/)]);

    // Whatever comes to be added stands in one of the two lists.
    const names = [...new Set(all.filter((each) => each.app && !each.public).map(({ name }) => name))];
    expect(names.map((name) => name.replace(/_\d+$/, '_N'))).toEqual([
      'audit',
      'cascade_catalogue',
      'cascade_list',
      'cascade_stats',
      'cascade_time',
      'cascaded',
      'check_domains',
      'claim_leases',
      'clear_leases',
      'compact',
      'delete_N',
      'delete_like_N',
      'dependency_tags',
      'domain_of',
      'ensure_incarnation',
      'evict_N',
      'header',
      'invalidate',
      'is_watched',
      'missing_cascades',
      'narrowable',
      'opened_relations',
      'purge_N',
      'reads_of',
      'refence_N',
      'register_cascades',
      'release_leases',
      'remove_cascades',
      'schema_fingerprint',
      'store_N',
      'surplus_cascades',
      'touch',
      'untouched',
      'watched_tables',
    ]);
  });

  it('put no name into a statement that was not quoted', async () => {
    const evil = `x"'; DROP TABLE victim; --`;
    const name = `"${evil.replaceAll('"', '""')}"`;
    await database.pool.query(`CREATE TABLE victim (id int);
      CREATE TABLE ${name} (${name} int PRIMARY KEY, "%1$s" text, "$body$" uuid) PARTITION BY HASH (${name});
      CREATE TABLE "${evil.replaceAll('"', '""')} 2" PARTITION OF ${name} FOR VALUES WITH (MODULUS 1, REMAINDER 0)`);
    const domain = `${evil}$body$ %s %I`;
    const { cache } = await openCache(database, {
      tableName: name,
      partitions: 2,
      watch: [{ table: name, domain, tenantColumn: '%1$s', tagColumns: [['$body$']] }],
    });
    await database.pool.query(`INSERT INTO fraiseql_cache.cascade_rules VALUES ($1, $1, 'invalidate')`, [domain]);
    await database.pool.query(
      `INSERT INTO fraiseql_cache.cascade_detail (source_domain, pattern, free_tag, condition) VALUES ($1, 'p', $2, $3)`,
      [domain, `${evil}{${evil}}{%1$s}`, JSON.stringify({ '%1$s': [evil, null] })],
    );
    const policy = { domains: [domain] };
    for (const write of [
      `INSERT INTO ${name} VALUES (1, 'a', NULL)`,
      `UPDATE ${name} SET "%1$s" = 'b'`,
      `DELETE FROM ${name}`,
      `TRUNCATE ${name}`,
    ]) {
      expect(await cache.getOrSet('k', async () => write, policy)).toBe(write);
      await cache.drain();
      expect(await cache.get('k')).toBe(write);
      await database.pool.query(write);
      expect(await cache.get('k')).toBeUndefined();
    }
    await database.pool.query(`SELECT fraiseql_cache.lock_cache('fraiseql_cache', $1, $1)`, [evil]);
    expect(await cache.set('k', 1)).toBe(true);
    expect(await cache.delete('k')).toBe(true);
    expect(await cache.invalidatePattern(`${evil}*`)).toBe(0);
    expect((await database.pool.query('SELECT FROM victim')).rows).toEqual([]);
  });
});

describe('an owner that installs, and a role that uses', () => {
  it('the second may cache, and neither install nor reach past the functions', async () => {
    await install();
    const { store, cache } = await openCache(database, { connection: app.url, watch, autoInitialize: false });
    const policy = { domains: ['user'], lease: true };
    expect(await cache.getOrSet('k', async () => 1, policy)).toBe(1);
    await cache.drain();
    expect(await cache.get('k')).toBe(1);
    await app.pool.query(`INSERT INTO users VALUES (1, 'acme', 'Ada')`);
    expect(await cache.exists('k')).toBe(false);
    expect(await cache.set('k', 2)).toBe(true);
    expect(await cache.delete('k')).toBe(true);
    expect(await cache.invalidatePattern('k*')).toBe(0);
    await cache.invalidate({ domains: ['user'] });
    await cache.purge();
    expect(await cache.getStats()).toMatchObject({ totalEntries: expect.any(Number) });
    expect((await store.audit()).get('user')).toBeNull();

    for (const forbidden of [
      `INSERT INTO fraiseql_cache.log (tag, xid) VALUES ('user', 9e18::bigint)`,
      'DELETE FROM fraiseql_cache.fraiseql_cache',
      'SELECT * FROM fraiseql_cache.log',
      'SELECT * FROM fraiseql_cache.tenant',
      'SELECT * FROM fraiseql_cache.fill_lease',
      `SELECT fraiseql_cache.watch('users', 'user')`,
      `SELECT fraiseql_cache.unwatch('users')`,
      `SELECT fraiseql_cache.create_cache('public', 'mine', 60)`,
      `SELECT fraiseql_cache.advance_horizon('infinity')`,
      'SELECT fraiseql_cache.compact_log()',
      `SELECT fraiseql_cache.allow_use('${stranger.name}')`,
      `SELECT fraiseql_cache.lock_cache('fraiseql_cache', 'fraiseql_cache')`,
      `INSERT INTO fraiseql_cache.cascade_rules VALUES ('user', 'post')`,
      'CREATE TABLE fraiseql_cache.mine (id int)',
    ])
      await expect(app.pool.query(forbidden)).rejects.toThrow('permission denied');
  });

  it('a third one may do nothing, and its writes count all the same', async () => {
    await install();
    const { cache } = await openCache(database, { connection: app.url, watch });
    await cache.getOrSet('k', async () => 1, { domains: ['user'] });
    await cache.drain();
    expect(await cache.exists('k')).toBe(true);
    await stranger.pool.query(`INSERT INTO users VALUES (1, 'acme', 'Ada')`);
    expect(await cache.exists('k')).toBe(false);
    for (const forbidden of [
      'SELECT * FROM fraiseql_cache.fraiseql_cache',
      'SELECT * FROM fraiseql_cache.current_incarnation',
      `SELECT fraiseql_cache.touch('{user}')`,
      'SELECT fraiseql_cache.ensure_incarnation()',
      'SELECT fraiseql_cache.functions_for_use()',
    ])
      await expect(stranger.pool.query(forbidden)).rejects.toThrow('permission denied for schema');
  });

  it('one that may read and was allowed no function is told what to grant', async () => {
    await install();
    await database.pool.query(`GRANT USAGE ON SCHEMA fraiseql_cache TO ${stranger.name};
      GRANT SELECT ON ALL TABLES IN SCHEMA fraiseql_cache TO ${stranger.name}`);
    await expect(stranger.pool.query(`SELECT fraiseql_cache.touch('{user}')`)).rejects.toThrow('permission denied for');
    const refused = await openCache(database, { connection: stranger.url }).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(NotInstalledError);
    const { statements } = refused as NotInstalledError;
    expect(statements).toContain(`SELECT fraiseql_cache.allow_use('${stranger.name}');`);
    for (const statement of statements) await database.pool.query(statement);
    const { cache } = await openCache(database, { connection: stranger.url });
    expect(await cache.set('k', 1)).toBe(true);
  });

  it('who owns a partitioned table goes on adding partitions to it', async () => {
    await install();
    const { name } = stranger;
    await database.pool.query(`ALTER TABLE logs OWNER TO ${name}; ALTER TABLE logs_0 OWNER TO ${name}`);
    await stranger.pool.query('CREATE TABLE logs_1 PARTITION OF logs FOR VALUES FROM (10) TO (20)');
    await stranger.pool.query(`INSERT INTO logs VALUES (1, 'acme'), (11, 'acme')`);
  });
});

describe('nobody gets to run his own code with the rights of the one who installed', () => {
  /** A type that is text in all but its casts, which are a function of this role's own. */
  const TRAP = `CREATE TABLE sprung (by text);
    CREATE TYPE bait AS ENUM ('1', 'acme');
    CREATE FUNCTION spring(bait) RETURNS text LANGUAGE plpgsql AS
      $$ BEGIN INSERT INTO public.sprung VALUES (current_user); RETURN 'x'; END $$;
    CREATE CAST (bait AS text) WITH FUNCTION spring(bait) AS IMPLICIT;
    GRANT ALL ON sprung TO PUBLIC`;

  it('by a trigger of the cache’s functions on a table of his own', async () => {
    await install();
    await app.pool.query(`${TRAP}; CREATE TABLE lure (id bait, tenant_id bait)`);
    const { rows } = await database.pool.query<{ name: string }>(
      `SELECT proname AS name FROM pg_proc WHERE pronamespace = 'fraiseql_cache'::regnamespace AND prorettype = 'trigger'::regtype`,
    );
    expect(rows.length).toBeGreaterThan(8);
    for (const { name } of rows.filter((each) => !each.name.endsWith('_move')))
      await expect(
        app.pool.query(`CREATE TRIGGER lure AFTER INSERT ON lure REFERENCING NEW TABLE AS new_rows
          FOR EACH STATEMENT EXECUTE FUNCTION fraiseql_cache.${name}()`),
      ).rejects.toThrow('permission denied for function');
    // The one that must be open to all converts what it is given without any of its casts.
    const { name: move } = rows.find((each) => each.name.endsWith('_move'))!;
    await app.pool
      .query(`CREATE TRIGGER lure AFTER INSERT ON lure FOR EACH ROW EXECUTE FUNCTION fraiseql_cache.${move}();
      INSERT INTO lure VALUES ('1', 'acme')`);
    expect((await database.pool.query('SELECT * FROM sprung')).rows).toEqual([]);
  });

  it('by the types of a table that is watched', async () => {
    await database.pool.query(`ALTER TABLE users OWNER TO ${stranger.name}`);
    await openCache(database, { watch: [{ ...watch[0]!, tagColumns: [['name']] }] });
    await database.pool.query(`INSERT INTO fraiseql_cache.cascade_rules VALUES ('user', 'user', 'detailed');
      INSERT INTO fraiseql_cache.cascade_detail (source_domain, pattern, target_domain, source_column, target_column)
        VALUES ('user', 'p', 'user', 'name', 'name');
      INSERT INTO fraiseql_cache.cascade_detail (source_domain, pattern, free_tag, condition)
        VALUES ('user', 'q', 'tag {name}', '{"tenant_id": "acme"}')`);
    await stranger.pool.query(`${TRAP};
      ALTER TABLE users ALTER COLUMN tenant_id TYPE bait USING 'acme', ALTER COLUMN name TYPE bait USING '1';
      INSERT INTO users VALUES (1, 'acme', '1'); UPDATE users SET name = 'acme'; UPDATE users SET id = 2; DELETE FROM users`);
    expect((await database.pool.query('SELECT * FROM sprung')).rows).toEqual([]);
    const { rows } = await database.pool.query<{ tag: string }>(
      `SELECT tag FROM fraiseql_cache.log WHERE tag LIKE 'user.%' OR tag LIKE '@tag%'`,
    );
    const tags = rows.map(({ tag }) => tag);
    expect(tags).toEqual(expect.arrayContaining(['user.tenant_id=acme', 'user.name=1', '@tag 1', '@tag acme']));
  });
});
