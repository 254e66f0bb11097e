import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type EmbeddedServer, startServer } from '@workspace/embedded-server';
import pg from 'pg';
import { DataSource } from 'typeorm';
import { CacheConfigurationError, MissingTenantError } from '../core/errors.js';
import { TenantContext } from './tenant-context.js';
import { type TransactionHandle } from './tenant-setting.js';

const READ = `SELECT current_setting('app.current_tenant_id', true) AS tenant`;

describe('TenantContext.applyTo', () => {
  const context = new TenantContext();
  let server: EmbeddedServer;
  let admin: pg.Client;
  let dataSource: DataSource;

  beforeAll(async () => {
    server = await startServer();
    admin = new pg.Client({ connectionString: server.url() });
    await admin.connect();
    dataSource = new DataSource({ type: 'postgres', url: server.url(), extra: { max: 1 } });
    await dataSource.initialize();
  });

  afterAll(async () => {
    await dataSource?.destroy();
    // A pool says it has ended before its connections have; one still open would take the server's shutdown for an error.
    const others = `SELECT FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()`;
    while ((await admin.query(others)).rowCount);
    await admin.end();
    await server?.stop();
  });

  async function withClient<R>(fn: (client: pg.Client) => Promise<R>): Promise<R> {
    const client = new pg.Client({ connectionString: server.url() });
    await client.connect();
    try {
      return await fn(client);
    } finally {
      await client.end();
    }
  }

  async function inTransaction<R>(fn: (client: pg.Client) => Promise<R>): Promise<R> {
    return withClient(async (client) => {
      await client.query('BEGIN');
      return fn(client);
    });
  }

  it("sets the tenant for the rest of a client's transaction, and not beyond", async () => {
    await inTransaction(async (client) => {
      await context.run("o'brien & söhne", () => context.applyTo(client));
      expect((await client.query(READ)).rows).toEqual([{ tenant: "o'brien & söhne" }]);
      await client.query('COMMIT');
      expect((await client.query(READ)).rows).toEqual([{ tenant: '' }]);
    });
  });

  it('makes row-level security see the tenant', async () => {
    await admin.query(`
      CREATE ROLE app_user; CREATE TABLE note (tenant_id text, body text);
      INSERT INTO note VALUES ('acme', 'mine'), ('other', 'theirs');
      ALTER TABLE note ENABLE ROW LEVEL SECURITY; GRANT SELECT ON note TO app_user;
      CREATE POLICY own ON note USING (tenant_id = current_setting('app.current_tenant_id', true))`);
    await inTransaction(async (client) => {
      await client.query('SET LOCAL ROLE app_user');
      expect((await client.query('SELECT body FROM note')).rows).toEqual([]);
      await context.run('acme', () => context.applyTo(client));
      expect((await client.query('SELECT body FROM note')).rows).toEqual([{ body: 'mine' }]);
    });
  });

  it('takes an EntityManager or a QueryRunner of TypeORM', async () => {
    await dataSource.transaction(async (manager) => {
      await context.run('acme', () => context.applyTo(manager));
      expect(await manager.query(READ)).toEqual([{ tenant: 'acme' }]);
    });
    const runner = dataSource.createQueryRunner();
    try {
      await runner.startTransaction();
      await context.run('acme', () => context.applyTo(runner));
      expect(await runner.query(READ)).toEqual([{ tenant: 'acme' }]);
      await runner.rollbackTransaction();
      await expect(context.run('acme', () => context.applyTo(runner))).rejects.toThrow(CacheConfigurationError);
    } finally {
      await runner.release();
    }
  });

  it('uses the configured setting', async () => {
    await inTransaction(async (client) => {
      const custom = new TenantContext({ setting: 'my.tenant' });
      await custom.run('acme', () => custom.applyTo(client));
      expect((await client.query(`SELECT current_setting('my.tenant') AS tenant`)).rows).toEqual([{ tenant: 'acme' }]);
    });
  });

  it.each<[string, () => TransactionHandle]>([
    ['a pool', () => new pg.Pool()],
    ['a DataSource', () => dataSource],
    ["a DataSource's own EntityManager", () => dataSource.manager],
  ])('refuses %s', async (_, handle) => {
    await expect(context.run('acme', () => context.applyTo(handle()))).rejects.toThrow(/No transaction is open here/);
  });

  it('refuses a client outside a transaction', async () => {
    await withClient(async (client) => {
      await expect(context.run('acme', () => context.applyTo(client))).rejects.toThrow(CacheConfigurationError);
    });
  });

  it('sends nothing to a client it knows to be outside a transaction', async () => {
    const sent: string[] = [];
    const idle = {
      getTransactionStatus: () => 'I',
      query: async (sql: string) => sent.push(sql),
    };
    await expect(context.run('acme', () => context.applyTo(idle))).rejects.toThrow(CacheConfigurationError);
    expect(sent).toEqual([]);
  });

  it('finds out by itself with a client that does not tell', async () => {
    const silent = (client: pg.Client): TransactionHandle => ({
      query: (sql, values) => client.query(sql, values),
    });
    await withClient(async (client) => {
      await expect(context.run('acme', () => context.applyTo(silent(client)))).rejects.toThrow(CacheConfigurationError);
    });
    await inTransaction(async (client) => {
      await context.run('acme', () => context.applyTo(silent(client)));
      expect((await client.query(READ)).rows).toEqual([{ tenant: 'acme' }]);
    });
  });

  it('touches nothing without a tenant', async () => {
    await inTransaction(async (client) => {
      await expect(context.applyTo(client)).rejects.toThrow(MissingTenantError);
      expect((await client.query(READ)).rows).not.toEqual([{ tenant: 'acme' }]);
    });
  });
});
