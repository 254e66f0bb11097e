import { afterAll, afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import {
  CacheConfigurationError,
  CacheModule,
  installScript,
  NotInstalledError,
  TenantContext,
} from 'nestjs-result-cache';
import pg from 'pg';
import { closeCaches, openCache, type TestCache } from './support/caches.js';
import { createDatabase, serverUrl, type TestDatabase } from './support/database.js';
import { closeNest, startNest, type StartedNest } from './support/nest.js';
import { createRole, type TestRole } from './support/role.js';

const watch = [{ table: 'items', domain: 'item', tenantColumn: 'tenant_id' }];
const server = new pg.Pool({ connectionString: serverUrl(), max: 1 });
let database: TestDatabase;
/** It installs and owns; the application connects as the other. */
let owner: TestRole;
let app: TestRole;

beforeEach(async () => {
  database = await createDatabase({ extension: false });
  owner = await createRole(database, { create: true });
  app = await createRole(database);
  await database.pool.query(`ALTER DATABASE ${database.name} OWNER TO ${owner.name}`);
  await owner.pool.query(`CREATE TABLE items (id int PRIMARY KEY, tenant_id text, name text);
    GRANT ALL ON items TO ${app.name}`);
});
afterEach(async () => {
  await closeNest();
  await closeCaches();
  for (const { pool } of [owner, app]) await pool.end();
  await database.drop();
  for (const role of [owner, app]) await role.drop(server);
});
afterAll(() => server.end());

const install = async (options: Parameters<typeof installScript>[0] = {}): Promise<unknown> =>
  owner.pool.query(installScript({ watch, role: app.name, rowLevelSecurity: true, ...options }));

const startLocked = async (): Promise<StartedNest> =>
  startNest(database, {
    options: { connection: app.url, rowLevelSecurity: true, autoInitialize: false, tenancy: 'required' },
  });

/** The names of the tenants whose entries SQL of the application sees, in a transaction of a tenant or of nobody. */
async function seen(tenant: string | null, table = 'fraiseql_cache', role = app): Promise<unknown[]> {
  const client = await role.pool.connect();
  try {
    await client.query('BEGIN');
    if (tenant !== null) await client.query(`SELECT set_config('app.current_tenant_id', $1, true)`, [tenant]);
    const { rows } = await client.query<{ tenant: string | null }>(
      `SELECT DISTINCT tenant_id AS tenant FROM fraiseql_cache.${table} ORDER BY 1`,
    );
    await client.query('COMMIT');
    return rows.map((row) => row.tenant);
  } finally {
    client.release();
  }
}

async function refusal(opening: Promise<unknown>): Promise<NotInstalledError> {
  const error: unknown = await opening.catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(NotInstalledError);
  return error as NotInstalledError;
}

describe.each([0, 2])('a locked table in %i partitions', (partitions) => {
  it('shows the application’s SQL the rows of the tenant that its transaction has set, and no others', async () => {
    await install({ partitions });
    const nest = await startNest(database, {
      options: { connection: app.url, rowLevelSecurity: true, autoInitialize: false, tenancy: 'required', partitions },
    });
    const tenants = nest.app.get(TenantContext);
    for (const tenant of ['acme', 'umbrella'])
      await tenants.run(tenant, () => nest.cache.set('secret', tenant, { untracked: true }));
    await nest.cache.set('rates', 'of all', { untracked: true, tenant: 'shared' });

    expect(await seen(null)).toEqual([]);
    expect(await seen('acme')).toEqual(['acme']);
    // On a connection whose last transaction was of a tenant, the setting is empty and not absent.
    const client = await app.pool.connect();
    await client.query(`BEGIN; SELECT set_config('app.current_tenant_id', 'acme', true); COMMIT`);
    expect((await client.query('SELECT * FROM fraiseql_cache.fraiseql_cache')).rows).toEqual([]);
    client.release();
    expect(await seen('nobody')).toEqual([]);
    expect(await seen(null, 'fraiseql_cache', owner)).toEqual(['acme', 'umbrella', null]);
    if (partitions > 0) {
      await database.pool.query(
        `GRANT SELECT ON fraiseql_cache.fraiseql_cache_0, fraiseql_cache.fraiseql_cache_1 TO ${app.name}`,
      );
      for (const part of ['fraiseql_cache_0', 'fraiseql_cache_1']) expect(await seen(null, part)).toEqual([]);
    }
  });

  it('serves all tenants’ reads of one turn of the event loop, from the table as from memory', async () => {
    await install({ partitions });
    const options = { connection: app.url, rowLevelSecurity: true, partitions };
    const one = await openCache(database, options);
    const other = await openCache(database, options);
    const keys = Array.from({ length: 20 }, (_, n) => `tenant ${n}`);
    const read = ({ cache }: TestCache, text: string): Promise<string[]> =>
      Promise.all(
        keys.map((key) => cache.getOrSet(key, async () => text, { domains: ['item'], tenantId: key, lease: true })),
      );
    expect(new Set(await read(one, 'first'))).toEqual(new Set(['first']));
    await one.cache.drain();
    for (const cache of [other, one]) expect(new Set(await read(cache, 'second'))).toEqual(new Set(['first']));
    // From rows fenced before a process began to listen, which the log must prove.
    const late = await openCache(database, options);
    expect(new Set(await read(late, 'second'))).toEqual(new Set(['first']));
    expect(await late.cache.getStats()).toMatchObject({ totalEntries: 20, expiredEntries: 0, hits: 20 });
    await app.pool.query(`INSERT INTO items VALUES (1, 'acme', 'x')`);
    for (const cache of [one, other, late]) expect(new Set(await read(cache, 'third'))).toEqual(new Set(['third']));
  });
});

it('counts what a cascade would make void', async () => {
  await install();
  const { cache, store } = await openCache(database, { connection: app.url, rowLevelSecurity: true, watch });
  await owner.pool.query(`INSERT INTO fraiseql_cache.cascade_rules VALUES ('list', 'item', 'invalidate')`);
  await cache.getOrSet('k', async () => 1, { domains: ['item'], tenantId: 'acme' });
  await cache.drain();
  expect(await store.cascades.follow('list', null)).toEqual([
    { target: 'item', depth: 1, tags: expect.any(Array), entries: 1 },
  ]);
});

describe('rowLevelSecurity: true', () => {
  it('starts where the table is locked, and purges, counts and invalidates as ever', async () => {
    await install();
    const nest = await startLocked();
    expect(nest.warnings).toEqual([]);
    const tenants = nest.app.get(TenantContext);
    await tenants.run('acme', async () => {
      expect(await nest.cache.set('k', 1, { untracked: true })).toBe(true);
      expect(await nest.cache.get('k')).toBe(1);
      expect(await nest.cache.invalidatePattern('k*')).toBe(1);
      expect(await nest.cache.exists('k')).toBe(false);
    });
    await nest.cache.engine.purge();
  });

  it('is refused to a role that no policy holds: the owner, a member of its, an administrator', async () => {
    await install();
    const options = { rowLevelSecurity: true, watch };
    for (const connection of [owner.url, database.url]) {
      const { message, statements } = await refusal(openCache(database, { ...options, connection }));
      expect(message).toContain('sees the entries of all tenants in "fraiseql_cache"."fraiseql_cache"');
      expect(statements).toContain(`SELECT fraiseql_cache.lock_cache('fraiseql_cache', 'fraiseql_cache');`);
    }
    await openCache(database, { ...options, connection: app.url });
    await database.pool.query(`GRANT ${owner.name} TO ${app.name}`);
    await refusal(openCache(database, { ...options, connection: app.url }));
  });

  it('is refused where the table is not locked, or by something else, and starts when the statements were run', async () => {
    await install({ rowLevelSecurity: false });
    const options = { rowLevelSecurity: { setting: 'my.tenant' }, connection: app.url, watch };
    const { statements } = await refusal(openCache(database, options));
    for (const statement of statements) await owner.pool.query(statement);
    await openCache(database, options);
    expect((await refusal(openCache(database, { ...options, rowLevelSecurity: true }))).message).toContain(
      'has other policies than the one on the setting app.current_tenant_id',
    );
    await owner.pool.query('CREATE POLICY generous ON fraiseql_cache.fraiseql_cache USING (true)');
    await refusal(openCache(database, options));
  });

  it('is refused without tenants', async () => {
    expect(() => CacheModule.forRoot({ connection: app.url, tenancy: 'off', rowLevelSecurity: true })).toThrow(
      CacheConfigurationError,
    );
  });
});

it('a lock of somebody’s own, which would hide all rows from the cache, is told', async () => {
  await install({ rowLevelSecurity: false });
  await owner.pool.query('ALTER TABLE fraiseql_cache.fraiseql_cache ENABLE ROW LEVEL SECURITY');
  const { message, statements } = await refusal(openCache(database, { connection: app.url, watch }));
  expect(message).toContain('keep the role');
  for (const statement of statements) await owner.pool.query(statement);
  const { cache } = await openCache(database, { connection: app.url, watch });
  expect(await cache.set('k', 1)).toBe(true);
  expect(await cache.get('k')).toBe(1);
});

it('a locked table may be dropped, and is made anew with its lock', async () => {
  await install();
  await owner.pool.query('DROP TABLE fraiseql_cache.fraiseql_cache');
  const options = { connection: app.url, rowLevelSecurity: true, watch };
  const { statements } = await refusal(openCache(database, options));
  for (const statement of statements) await owner.pool.query(statement);
  const { cache } = await openCache(database, options);
  expect(await cache.set('k', 1)).toBe(true);
  expect(await cache.get('k')).toBe(1);
});
