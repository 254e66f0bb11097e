import { afterAll, afterEach, describe, expect, it } from '@jest/globals';
import { NotInstalledError } from 'nestjs-result-cache';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import { closeCaches, openCache } from './support/caches.js';
import { createDatabase, serverUrl, type TestDatabase } from './support/database.js';
import { copyByHand, copyWithPgDump, pgDumpFits } from './support/dump.js';
import { extensionScripts, provideExtension, serverExtensionDirectory } from './support/extension.js';
import { createRole, type TestRole } from './support/role.js';

const watch = [{ table: 'users', domain: 'user', tenantColumn: 'tenant_id' }];
const users = 'CREATE TABLE users (id int PRIMARY KEY, tenant_id text, name text)';

const server = new pg.Pool({ connectionString: serverUrl(), max: 1 });
const dumpFits = await pgDumpFits(server);
const databases: TestDatabase[] = [];
const roles: TestRole[] = [];

async function newDatabase(options: { extension?: boolean } = {}): Promise<TestDatabase> {
  await provideExtension();
  const database = await createDatabase({ extension: false, ...options });
  databases.push(database);
  return database;
}

async function newRole(database: TestDatabase, rights: { create?: boolean } = {}): Promise<TestRole> {
  const role = await createRole(database, rights);
  roles.push(role);
  return role;
}

afterEach(async () => {
  await closeCaches();
  for (const role of roles) await role.pool.end();
  for (const database of databases.splice(0)) await database.drop();
  for (const role of roles.splice(0)) await role.drop(server);
});

afterAll(async () => {
  await server.end();
});

const rowsOf = async (pool: pg.Pool, text: string): Promise<unknown[]> => (await pool.query(text)).rows;

/** Every object of the schema with its definition, whoever made it. */
async function catalogue(pool: pg.Pool): Promise<unknown> {
  const parts = {
    functions: `SELECT p.oid::regprocedure::text AS name, pg_get_functiondef(p.oid) AS definition, p.prosrc, COALESCE(p.proacl, acldefault('f', p.proowner))::text AS rights FROM pg_proc p WHERE p.pronamespace = n.oid`,
    relations: `SELECT c.relname AS name, c.relkind, c.relpersistence, c.reloptions FROM pg_class c WHERE c.relnamespace = n.oid`,
    columns: `SELECT c.relname || '.' || a.attname AS name, a.attnum, format_type(a.atttypid, a.atttypmod) AS type, a.attnotnull, a.attidentity, a.attcollation::regcollation::text,
                (SELECT pg_get_expr(d.adbin, d.adrelid) FROM pg_attrdef d WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum) AS "default"
                FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid WHERE c.relnamespace = n.oid AND a.attnum > 0`,
    indexes: `SELECT i.indexrelid::regclass::text AS name, pg_get_indexdef(i.indexrelid) AS definition FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE c.relnamespace = n.oid`,
    constraints: `SELECT conrelid::regclass || '.' || conname AS name, pg_get_constraintdef(c.oid) AS definition FROM pg_constraint c WHERE c.connamespace = n.oid`,
    views: `SELECT c.relname AS name, pg_get_viewdef(c.oid) AS definition FROM pg_class c WHERE c.relnamespace = n.oid AND c.relkind = 'v'`,
    operators: `SELECT o.oid::regoperator::text AS name, o.oprcode::text FROM pg_operator o WHERE o.oprnamespace = n.oid`,
    triggers: `SELECT t.tgrelid::regclass || '.' || t.tgname AS name, pg_get_triggerdef(t.oid) AS definition, t.tgenabled FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid WHERE p.pronamespace = n.oid`,
    migrations: 'SELECT name FROM fraiseql_cache.migration',
  };
  const found: Record<string, unknown> = {};
  for (const [part, query] of Object.entries(parts))
    found[part] = await rowsOf(
      pool,
      `SELECT o.* FROM pg_namespace n CROSS JOIN LATERAL (${query}) o WHERE n.nspname = 'fraiseql_cache' ORDER BY o.name COLLATE "C"`,
    );
  return found;
}

const owners = (pool: pg.Pool): Promise<unknown[]> =>
  rowsOf(
    pool,
    `SELECT DISTINCT pg_get_userbyid(o.owner) AS owner FROM pg_namespace n CROSS JOIN LATERAL (
       SELECT n.nspowner AS owner UNION SELECT relowner FROM pg_class WHERE relnamespace = n.oid
       UNION SELECT proowner FROM pg_proc WHERE pronamespace = n.oid) o WHERE n.nspname = 'fraiseql_cache'`,
  );

describe('CREATE EXTENSION pg_fraiseql_cache', () => {
  it('needs CREATE on the database and nothing more, and gives the objects to whoever runs it', async () => {
    const database = await newDatabase();
    const role = await newRole(database, { create: true });
    await role.pool.query('CREATE EXTENSION pg_fraiseql_cache');
    await role.pool.query(users);
    const { store, cache } = await openCache(database, { connection: role.url, watch });
    expect(await owners(database.pool)).toEqual([{ owner: role.name }]);
    expect(store.extensionVersion).toBe('1.0');

    await cache.getOrSet('k', async () => 'before', { domains: ['user'] });
    await cache.drain();
    expect(await cache.get('k')).toBe('before');
    await role.pool.query(`INSERT INTO users VALUES (1, 'acme', 'Ada')`);
    expect(await cache.get('k')).toBeUndefined();
  });

  it('is refused to a role that may not create schemas', async () => {
    const database = await newDatabase();
    const role = await newRole(database);
    await expect(role.pool.query('CREATE EXTENSION pg_fraiseql_cache')).rejects.toThrow('permission denied');
  });

  it('is seen by the cache, which installs nothing a second time', async () => {
    const database = await newDatabase({ extension: true });
    const extension = (): Promise<unknown[]> =>
      rowsOf(
        database.pool,
        `SELECT classid::regclass::text, objid::text FROM pg_depend WHERE deptype = 'e' AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pg_fraiseql_cache') ORDER BY 1, 2`,
      );
    const before = await extension();
    const { store } = await openCache(database);
    expect(store.hasDomainVersioning).toBe(true);
    expect(store.extensionVersion).toBe('1.0');
    expect(await extension()).toEqual(before);

    const after = await catalogue(database.pool);
    await openCache(database);
    expect(await catalogue(database.pool)).toEqual(after);
  });

  it('makes exactly the objects that the cache makes without it', async () => {
    const [withExtension, without] = [await newDatabase({ extension: true }), await newDatabase()];
    expect((await openCache(without)).store).toMatchObject({ hasDomainVersioning: true, extensionVersion: null });
    await openCache(withExtension);
    expect(await catalogue(withExtension.pool)).toEqual(await catalogue(without.pool));

    for (const database of [withExtension, without]) {
      await database.pool.query(users);
      await openCache(database, { watch });
    }
    const objects = (await catalogue(without.pool)) as Record<string, unknown[]>;
    expect(await catalogue(withExtension.pool)).toEqual(objects);
    // The comparison is worth something only if it sees them.
    expect(objects.triggers).toHaveLength(12);
    for (const part of Object.values(objects)) expect(part).not.toHaveLength(0);
  });

  it('is refused where the cache was installed without it', async () => {
    const database = await newDatabase();
    const { cache } = await openCache(database);
    await expect(database.pool.query('CREATE EXTENSION pg_fraiseql_cache')).rejects.toThrow(
      'the schema fraiseql_cache holds objects already',
    );
    await cache.set('k', 1, { untracked: true });
    await cache.drain();
    expect(await cache.get('k')).toBe(1);
  });
});

describe('an extension that is older than the package', () => {
  const scripts = extensionScripts([{ version: '0.9', upTo: '0004-readers' }, { version: '1.0' }]);

  afterAll(async () => {
    for (const file of Object.keys(scripts)) await rm(join(await serverExtensionDirectory(), file), { force: true });
  });

  it('is reported with the statement that updates it, and works after that', async () => {
    const database = await newDatabase();
    await provideExtension(scripts);
    await database.pool.query(`CREATE EXTENSION pg_fraiseql_cache VERSION '0.9'`);
    for (const autoInitialize of [true, false]) {
      const failure = await openCache(database, { autoInitialize }).catch((error: unknown) => error);
      expect(failure).toBeInstanceOf(NotInstalledError);
      expect((failure as NotInstalledError).statements).toEqual(['ALTER EXTENSION pg_fraiseql_cache UPDATE;']);
    }

    await database.pool.query('ALTER EXTENSION pg_fraiseql_cache UPDATE');
    const { store } = await openCache(database);
    expect(store.extensionVersion).toBe('1.0');
    const installed = await newDatabase({ extension: true });
    await openCache(installed);
    expect(await catalogue(database.pool)).toEqual(await catalogue(installed.pool));
  });

  it('has scripts that together hold every migration once', () => {
    expect(Object.keys(scripts)).toEqual(['pg_fraiseql_cache--0.9.sql', 'pg_fraiseql_cache--0.9--1.0.sql']);
    const names = (text: string): string[] =>
      [...text.matchAll(/^INSERT INTO fraiseql_cache\.migration .*'(.*)'/gm)].map(([, name]) => name!);
    expect(Object.values(scripts).flatMap(names)).toEqual(Object.values(extensionScripts()).flatMap(names));
    expect(() => extensionScripts([{ version: '1.0', upTo: '0001-invalidation-log' }])).toThrow('no release holds');
    expect(() => extensionScripts([{ version: '1.0', upTo: 'nonsense' }])).toThrow('nonsense');
  });
});

describe('a schema that somebody else made first', () => {
  it('is not built upon when it holds anything', async () => {
    const database = await newDatabase();
    const eve = await newRole(database, { create: true });
    await eve.pool.query(`CREATE SCHEMA fraiseql_cache;
      CREATE FUNCTION fraiseql_cache.touch(tags varchar[]) RETURNS void LANGUAGE sql AS 'SELECT'`);
    await expect(database.pool.query('CREATE EXTENSION pg_fraiseql_cache')).rejects.toThrow('holds objects already');
    await expect(openCache(database)).rejects.toThrow(`belongs to ${eve.name}`);
  });

  it('never gets functions with more rights than its owner has', async () => {
    const database = await newDatabase();
    const eve = await newRole(database, { create: true });
    const app = await newRole(database, { create: true });
    await eve.pool.query(`CREATE SCHEMA fraiseql_cache; GRANT ALL ON SCHEMA fraiseql_cache TO ${app.name}`);
    await expect(app.pool.query('CREATE EXTENSION pg_fraiseql_cache')).rejects.toThrow('permission denied');

    const { rows } = await database.pool
      .query<{ role: string }>('BEGIN; CREATE EXTENSION pg_fraiseql_cache; SELECT current_user AS role; COMMIT')
      .then((results) => (results as unknown as pg.QueryResult<{ role: string }>[])[2]!);
    expect(rows).toEqual([{ role: 'postgres' }]);
    expect(await owners(database.pool)).toEqual([{ owner: eve.name }]);
  });

  it('is not used by the cache, even where it looks like an installation', async () => {
    const database = await newDatabase();
    const eve = await newRole(database, { create: true });
    await openCache(database, { connection: eve.url });
    const app = await newRole(database, { create: true });
    await eve.pool.query(`GRANT USAGE ON SCHEMA fraiseql_cache TO PUBLIC;
      GRANT ALL ON ALL TABLES IN SCHEMA fraiseql_cache TO PUBLIC`);
    for (const connection of [app.url, database.url])
      await expect(openCache(database, { connection })).rejects.toThrow(
        expect.objectContaining({ name: NotInstalledError.name, message: expect.stringContaining(eve.name) }),
      );
    await database.pool.query(`GRANT ${eve.name} TO ${app.name}`);
    expect((await openCache(database, { connection: app.url })).store.hasDomainVersioning).toBe(true);
  });
});

describe('DROP EXTENSION pg_fraiseql_cache', () => {
  it('refuses while tables are watched, and with CASCADE leaves them writable', async () => {
    const database = await newDatabase();
    const role = await newRole(database, { create: true });
    await role.pool.query(`CREATE EXTENSION pg_fraiseql_cache; ${users}`);
    await openCache(database, { connection: role.url, watch });
    await expect(role.pool.query('DROP EXTENSION pg_fraiseql_cache')).rejects.toMatchObject({
      message: expect.stringContaining('other objects depend on it'),
      detail: expect.stringContaining('trigger fraiseql_cache_insert on table users'),
    });
    await role.pool.query(`INSERT INTO users VALUES (1, 'acme', 'Ada')`);

    await role.pool.query('DROP EXTENSION pg_fraiseql_cache CASCADE');
    await role.pool.query(`INSERT INTO users VALUES (2, 'acme', 'Bob')`);
    expect(await rowsOf(database.pool, 'SELECT count(*) FROM users')).toEqual([{ count: '2' }]);
    expect(
      await rowsOf(database.pool, `SELECT proname FROM pg_proc WHERE pronamespace = 'fraiseql_cache'::regnamespace`),
    ).toEqual([]);
  });

  it('leaves a cache’s table behind, and says how to go on', async () => {
    const database = await newDatabase({ extension: true });
    const { cache } = await openCache(database);
    await database.pool.query('DROP EXTENSION pg_fraiseql_cache');
    expect(await cache.getOrSet('k', async () => 1, { untracked: true })).toBe(1);
    await expect(openCache(database)).rejects.toThrow('DROP SCHEMA fraiseql_cache CASCADE;');
    await database.pool.query('DROP SCHEMA fraiseql_cache CASCADE');
    expect((await openCache(database)).store.extensionVersion).toBeNull();
  });
});

describe('a dump', () => {
  /** A database in use by an ordinary role, copied by an administrator. */
  async function inUse(): Promise<{ source: TestDatabase; target: TestDatabase; role: TestRole }> {
    const source = await newDatabase();
    const role = await newRole(source, { create: true });
    await role.pool.query(`CREATE EXTENSION pg_fraiseql_cache; ${users}; INSERT INTO users VALUES (1, 'acme', 'Ada')`);
    // A table dropped later, so that numbers have a gap that a restore must keep.
    await role.pool.query(`CREATE TABLE gone (id int PRIMARY KEY); SELECT fraiseql_cache.watch('gone', 'gone');
      SELECT fraiseql_cache.unwatch('gone'); DROP TABLE gone`);
    const { cache } = await openCache(source, { connection: role.url, watch });
    await role.pool.query(`SELECT fraiseql_cache.setup_table_invalidation('users', 'user', 'tenant_id');
      INSERT INTO fraiseql_cache.cascade_rules VALUES ('user', 'post', 'invalidate'), ('user', 'comment', 'detailed');
      INSERT INTO fraiseql_cache.cascade_detail (source_domain, pattern, target_domain, condition) VALUES ('user', 'comment', 'comment', '{"name": "Grace"}')`);
    await cache.set('k', 'of the source', { untracked: true });
    await cache.drain();
    expect(await cache.get('k')).toBe('of the source');
    return { source, target: await newDatabase(), role };
  }

  async function worksIn({ source, target, role }: Awaited<ReturnType<typeof inUse>>): Promise<void> {
    const url = role.url.replace(source.name, target.name);
    const asOwner = async (query: string): Promise<void> => {
      const client = new pg.Client({ connectionString: url });
      await client.connect();
      await client.query(query).finally(() => client.end());
    };
    await target.pool.query(`GRANT ALL ON SCHEMA public TO ${role.name}`);
    const { store, cache } = await openCache(target, { connection: url, watch });
    expect(store.extensionVersion).toBe('1.0');
    expect([...(await store.audit())]).toEqual([['user', null]]);
    // Nothing of the source's log is known here.
    expect(await cache.get('k')).toBeUndefined();
    await cache.getOrSet('k', async () => 'of the target', { domains: ['user'] });
    await cache.drain();
    expect(await cache.get('k')).toBe('of the target');
    await asOwner(`UPDATE users SET name = 'Grace'`);
    expect(await cache.get('k')).toBeUndefined();

    // Numbers go on where the source's ended.
    await asOwner(`CREATE TABLE more (id int PRIMARY KEY); SELECT fraiseql_cache.watch('more', 'more')`);
    await openCache(target, { connection: url, tableName: 'another' });
    expect(await rowsOf(target.pool, 'SELECT * FROM fraiseql_cache.cascade_rules')).toHaveLength(2);
    // What follows from the rules is not in a dump, and was made anew; the write above cascaded.
    expect(
      await rowsOf(
        target.pool,
        `SELECT tag FROM fraiseql_cache.log WHERE tag LIKE '%@user=*' AND xid = (SELECT max(xid) FROM fraiseql_cache.log WHERE operation = 'u') ORDER BY tag`,
      ),
    ).toEqual([{ tag: 'comment.@user=*' }, { tag: 'post.@user=*' }]);
    expect(await rowsOf(target.pool, 'SELECT target FROM fraiseql_cache.cascade_reach ORDER BY 1')).toEqual([
      { target: 'comment' },
      { target: 'post' },
    ]);
    expect(await rowsOf(target.pool, `SELECT tenant_id FROM fraiseql_cache.tenant`)).toEqual([{ tenant_id: 'acme' }]);
    expect(await owners(target.pool)).toEqual([{ owner: role.name }]);
  }

  it('holds what people decided, and not what is about this very database', async () => {
    const database = await newDatabase({ extension: true });
    expect(
      await rowsOf(
        database.pool,
        `SELECT c.relname FROM pg_extension e, unnest(e.extconfig) AS d (id) JOIN pg_class c ON c.oid = d.id WHERE e.extname = 'pg_fraiseql_cache' ORDER BY 1`,
      ),
    ).toEqual(
      [
        'caches',
        'caches_id_seq',
        'cascade_detail',
        'cascade_detail_id_seq',
        'cascade_rules',
        'tenant',
        'watched',
        'watched_id_seq',
      ].map((relname) => ({
        relname,
      })),
    );
  });

  it('restored step by step as pg_dump would, works for the role it belonged to', async () => {
    const copy = await inUse();
    await copyByHand(copy.source.pool, copy.target.pool);
    await worksIn(copy);
  });

  // The server's npm package has no client programs; where there are some of its version, they are used.
  (dumpFits ? it : it.skip)('by pg_dump, restored, works for the role it belonged to', async () => {
    const copy = await inUse();
    await copyWithPgDump(copy.source.url, copy.target.url);
    await worksIn(copy);
  });
});
