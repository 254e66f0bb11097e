import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type pg from 'pg';
import { closeCaches, openCache } from './support/caches.js';
import { createDatabase, type TestDatabase } from './support/database.js';

/**
 * What FraiseQL's Python client asks of `pg_fraiseql_cache`, statement by statement: it reads the versions of some
 * domains for a tenant, takes a missing row as version 0, and serves an entry while all versions are what they were.
 */
let database: TestDatabase;

beforeAll(async () => {
  database = await createDatabase();
  await openCache(database);
});

afterAll(async () => {
  await closeCaches();
  await database.drop();
});

/** Its table names are unique to a test, and so are its domains. */
let table = '';
let count = 0;
beforeEach(async () => {
  table = `thing${++count}`;
  await run(`CREATE TABLE ${table} (id int PRIMARY KEY, tenant_id text, name text)`);
});

const run = async (text: string, values?: unknown[]): Promise<void> => {
  await database.pool.query(text, values);
};

/** A connection of its own, given back whatever happens. */
async function connected<T>(work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
  const client = await database.pool.connect();
  try {
    return await work(client);
  } finally {
    client.release(true);
  }
}

async function versions(tenant: string, domains: string[] = [table]): Promise<Record<string, string>> {
  const { rows } = await database.pool.query<{ domain: string; version: string }>(
    'SELECT domain, version FROM fraiseql_cache.domain_version WHERE tenant_id = $1 AND domain = ANY($2)',
    [tenant, domains],
  );
  return Object.fromEntries(rows.map(({ domain, version }) => [domain, version]));
}
const version = async (tenant: string, domain = table): Promise<string | undefined> =>
  (await versions(tenant, [domain]))[domain];

const setUp = (name = table, domain: string | null = table, column: string | null = 'tenant_id'): Promise<void> =>
  run('SELECT fraiseql_cache.setup_table_invalidation($1, $2, $3)', [name, domain, column]);

describe('setup_table_invalidation', () => {
  it.each([
    ['people_users', 'people_user'],
    ['tb_category', 'category'],
    ['categories', 'category'],
    ['addresses', 'address'],
    ['status_boss', 'status_boss'],
  ])('takes the domain from the table’s name where none is given: %s feeds %s', async (name, domain) => {
    await run(`CREATE TABLE ${name} (id int PRIMARY KEY, tenant_id text)`);
    await run('SELECT fraiseql_cache.setup_table_invalidation($1, NULL, $2)', [`public.${name}`, 'tenant_id']);
    expect(await versions('global', [domain, name])).toEqual({ [domain]: expect.any(String) });
    await run(`SELECT fraiseql_cache.unwatch('${name}')`);
  });

  it('accepts the tenant column the client always names, on a table that has none', async () => {
    await run(`ALTER TABLE ${table} DROP COLUMN tenant_id; INSERT INTO ${table} VALUES (1, 'x')`);
    await run(`INSERT INTO fraiseql_cache.tenant VALUES ('acme') ON CONFLICT DO NOTHING`);
    await setUp();
    const before = await version('acme');
    await run(`UPDATE ${table} SET name = 'y'`);
    // Anybody may depend on a row that is nobody's.
    expect(await version('acme')).not.toBe(before);
  });

  it('may be called at every start', async () => {
    await setUp();
    const before = await version('global');
    await setUp();
    expect(await version('global')).toBe(before);
  });

  it('looks an unqualified name up as the caller would', async () => {
    await run(`CREATE SCHEMA blog_${table}; CREATE TABLE blog_${table}.only_here (id int PRIMARY KEY)`);
    await connected(async (client) => {
      await client.query(`SET search_path = blog_${table}`);
      await client.query(`SELECT fraiseql_cache.setup_table_invalidation('only_here', 'only_here', NULL)`);
    });
    expect(await version('global', 'only_here')).toBeDefined();
  });

  it('still refuses a table that is not there', async () => {
    await expect(setUp('nowhere')).rejects.toThrow('"nowhere" does not exist');
  });
});

describe('domain_version', () => {
  it('has a row for each tenant there are rows of, and for "global"', async () => {
    await run(`INSERT INTO ${table} VALUES (1, 'first', ''), (2, NULL, '')`);
    await setUp();
    expect(await version('first')).toBeDefined();
    expect(await version('global')).toBeDefined();
    expect(await version('second')).toBeUndefined();
    await run(`INSERT INTO ${table} VALUES (3, 'second', '')`);
    expect(await version('second')).toBeDefined();
  });

  it('knows a tenant whose first rows come in one large statement', async () => {
    await setUp();
    await run(`INSERT INTO ${table} SELECT n, 'bulk', '' FROM generate_series(1, 1000) n`);
    expect(await version('bulk')).toBeDefined();
  });

  it('answers for all domains of a tenant that is known to one', async () => {
    await run(`CREATE TABLE other_${table} (id int PRIMARY KEY, tenant_id text)`);
    await setUp();
    await setUp(`other_${table}`, `other_${table}`);
    await run(`INSERT INTO ${table} VALUES (1, 'known-to-one', '')`);
    expect(Object.keys(await versions('known-to-one', [table, `other_${table}`])).sort()).toEqual(
      [`other_${table}`, table].sort(),
    );
  });

  it.each(['t.1', 'a=b', '*', '~', '%2E', '%252E', '', '@x', '!y', 'a,b', "'; drop table", 'é😀', 'two\nlines'])(
    'gives a tenant’s name as it is: %j',
    async (tenant) => {
      await setUp();
      await run(`INSERT INTO ${table} VALUES (1, $1, '')`, [tenant]);
      const before = await version(tenant);
      expect(before).toBeDefined();
      await run(`UPDATE ${table} SET name = 'changed'`);
      expect(await version(tenant)).not.toBe(before);
    },
  );

  it('knows tenants by integers and UUIDs too', async () => {
    const id = '6F9619FF-8B86-D011-B42D-00CF4FC964FF';
    for (const [type, value] of [
      ['int', '7'],
      ['uuid', id],
    ] as const) {
      const name = `${table}_${type}`;
      await run(`CREATE TABLE ${name} (id int PRIMARY KEY, tenant_id ${type})`);
      await setUp(name, name);
      await run(`INSERT INTO ${name} VALUES (1, $1)`, [value]);
      const before = await version(value.toLowerCase(), name);
      expect(before).toBeDefined();
      await run(`UPDATE ${name} SET id = 2`);
      expect(await version(value.toLowerCase(), name)).not.toBe(before);
    }
  });

  it('can be asked with a UUID, as psycopg sends one, where the operator is in the search path', async () => {
    const id = '6f9619ff-8b86-d011-b42d-00cf4fc964ff';
    await setUp();
    await run(`INSERT INTO ${table} VALUES (1, $1, '')`, [id]);
    const { rows } = await connected(async (client) => {
      await client.query(`SET search_path = "$user", public, fraiseql_cache`);
      return client.query<{ version: string }>(
        'SELECT domain, version FROM fraiseql_cache.domain_version WHERE tenant_id = $1::uuid AND domain = ANY($2::text[])',
        [id, [table]],
      );
    });
    expect(rows).toEqual([{ domain: table, version: await version(id) }]);
  });

  const writes: [string, (name: string) => string][] = [
    ['an insert', (name) => `INSERT INTO ${name} VALUES (9, 'mine', '')`],
    ['an update', (name) => `UPDATE ${name} SET name = 'x' WHERE id = 1`],
    ['a delete', (name) => `DELETE FROM ${name} WHERE id = 1`],
    ['an update of more rows than are named', (name) => `UPDATE ${name} SET name = 'x' WHERE tenant_id = 'mine'`],
    ['a delete of more rows than are named', (name) => `DELETE FROM ${name} WHERE tenant_id = 'mine'`],
    ['a truncate', (name) => `TRUNCATE ${name}`],
    ['a row that moves to another tenant', (name) => `UPDATE ${name} SET tenant_id = 'theirs' WHERE id = 1`],
    ['a row that comes from another tenant', (name) => `UPDATE ${name} SET tenant_id = 'mine' WHERE id = -1`],
    ['a row of no tenant', (name) => `UPDATE ${name} SET name = 'shared' WHERE id = -2`],
    ['a row that becomes nobody’s', (name) => `UPDATE ${name} SET tenant_id = NULL WHERE id = -1`],
    ['an invalidation of the domain', (name) => `SELECT fraiseql_cache.touch_domains(ARRAY['${name}'])`],
    ['an invalidation of one row', (name) => `SELECT fraiseql_cache.invalidate('{"rows": [["${name}", {"id": 1}]]}')`],
  ];

  it.each(writes)('changes with %s', async (_, write) => {
    await setUp();
    await run(`INSERT INTO ${table} SELECT n, 'mine', '' FROM generate_series(1, 8) n`);
    await run(`INSERT INTO ${table} SELECT n, 'mine', '' FROM generate_series(10, 300) n`);
    await run(`INSERT INTO ${table} VALUES (-1, 'theirs', ''), (-2, NULL, '')`);
    const before = [await version('mine'), await version('global')];
    await run(write(table));
    const after = [await version('mine'), await version('global')];
    expect(after[0]).not.toBe(before[0]);
    expect(after[1]).not.toBe(before[1]);
  });

  it('stays what it is while only others write, or nobody does', async () => {
    await setUp();
    await run(`INSERT INTO ${table} VALUES (1, 'mine', ''), (2, 'theirs', '')`);
    const before = [await version('mine'), await version('global')];
    expect([await version('mine'), await version('global')]).toEqual(before);
    await run(`UPDATE ${table} SET name = 'x' WHERE tenant_id = 'theirs'`);
    await run(`UPDATE ${table} SET name = 'x' WHERE tenant_id = 'nobody'`);
    expect(await version('mine')).toBe(before[0]);
    expect(await version('global')).not.toBe(before[1]);
  });

  it('shows a transaction’s change at its commit, not before', async () => {
    await setUp();
    await run(`INSERT INTO ${table} VALUES (1, 'mine', '')`);
    const before = await version('mine');
    await connected(async (writer) => {
      await writer.query(`BEGIN; UPDATE ${table} SET name = 'x'`);
      expect(await version('mine')).toBe(before);
      await writer.query('COMMIT');
    });
    expect(await version('mine')).not.toBe(before);
  });

  it('never returns to an earlier value, in whatever order transactions commit and the log is compacted', async () => {
    // Rows from before the triggers: the first transactions below are then the first that the log has of this tenant.
    await run(`INSERT INTO ${table} VALUES (1, 'mine', ''), (2, 'mine', '')`);
    await setUp();
    const compact = (): Promise<void> => run('SELECT fraiseql_cache.compact_log()');
    const tenants = ['mine', 'global'] as const;
    const before = { mine: new Set<string>(), global: new Set<string>() };
    const since = { mine: new Set<string>(), global: new Set<string>() };
    const look = async (): Promise<void> => {
      for (const tenant of tenants) {
        const now = (await version(tenant))!;
        expect(before[tenant]).not.toContain(now);
        since[tenant].add(now);
      }
    };
    const commit = async (client: { query(text: string): Promise<unknown> }): Promise<void> => {
      await client.query('COMMIT');
      for (const tenant of tenants) for (const value of since[tenant]) before[tenant].add(value);
      await look();
    };
    await connected((older) =>
      connected(async (newer) => {
        await look();
        for (let round = 0; round < 5; round++) {
          await compact();
          await look();
          await older.query(`BEGIN; UPDATE ${table} SET name = 'older' WHERE id = 1`);
          await newer.query(`BEGIN; UPDATE ${table} SET name = 'newer' WHERE id = 2`);
          await commit(newer);
          await compact();
          await look();
          await commit(older);
          // The older one's row goes; what is left must not look as it did before it committed.
          await compact();
          await look();
        }
      }),
    );
  });

  it('remembers tenants that the log forgot, under a version of their own each time', async () => {
    await setUp();
    await run(`INSERT INTO ${table} VALUES (1, 'long-silent', '')`);
    let day = 0;
    const forget = async (): Promise<void> => {
      // Not past what any open transaction may still need: those of other specs end some time.
      for (let left = 1; left > 0; day += 2) {
        await run(`SELECT fraiseql_cache.advance_horizon(now() + interval '${day} days')`);
        const { rows } = await database.pool.query<{ left: number }>(
          'SELECT count(*)::int AS left FROM fraiseql_cache.log',
        );
        left = rows[0]!.left;
      }
    };
    const seen: (string | undefined)[] = [undefined];
    const look = async (): Promise<void> => {
      const now = await version('long-silent');
      expect(seen).not.toContain(now);
      seen.push(now);
    };
    await look();
    for (let round = 0; round < 2; round++) {
      await forget();
      await look();
      await run(`UPDATE ${table} SET name = 'again'`);
      await look();
    }
  });

  it('changes when the log is lost', async () => {
    await setUp();
    await run(`INSERT INTO ${table} VALUES (1, 'mine', '')`);
    const before = await version('global');
    await run('TRUNCATE fraiseql_cache.log, fraiseql_cache.incarnation, fraiseql_cache.horizon_sample');
    expect(await version('global')).not.toBe(before);
    await setUp();
    expect(await version('mine')).toBeDefined();
  });
});

describe('cascade_rules', () => {
  it('takes rules as the client writes and clears them', async () => {
    const register = (type: string): Promise<void> =>
      run(
        `INSERT INTO fraiseql_cache.cascade_rules (source_domain, target_domain, rule_type) VALUES ($1, $2, $3)
         ON CONFLICT (source_domain, target_domain) DO UPDATE SET rule_type = EXCLUDED.rule_type`,
        [table, 'post', type],
      );
    const rules = async (): Promise<unknown[]> =>
      (await database.pool.query('SELECT * FROM fraiseql_cache.cascade_rules WHERE source_domain = $1', [table])).rows;
    await register('invalidate');
    await register('notify');
    expect(await rules()).toEqual([{ source_domain: table, target_domain: 'post', rule_type: 'notify' }]);
    const { rowCount } = await database.pool.query(
      'DELETE FROM fraiseql_cache.cascade_rules WHERE source_domain = $1',
      [table],
    );
    expect(rowCount).toBe(1);
    expect(await rules()).toEqual([]);
  });
});
