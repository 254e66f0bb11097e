import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { createRequire } from 'node:module';
import { program } from '../../libs/result-cache/src/cli/program.js';
import { domainOf } from '../../libs/result-cache/src/postgres/domain-of.js';
import { closeCaches, openCache } from '../support/caches.js';
import { createDatabase, type TestDatabase } from '../support/database.js';

let database: TestDatabase;
let folder: string;

beforeAll(async () => {
  database = await createDatabase({ extension: false });
  folder = await mkdtemp(join(tmpdir(), 'result-cache-cli-'));
});

afterAll(async () => {
  await closeCaches();
  await database.drop();
  await rm(folder, { recursive: true, force: true });
});

async function run(...args: string[]): Promise<string> {
  let printed = '';
  const command = program((text) => (printed += text));
  const quiet = { writeErr: () => undefined, writeOut: () => undefined };
  for (const each of [command, ...command.commands]) each.exitOverride().configureOutput(quiet);
  await command.parseAsync(['sql', ...args], { from: 'user' });
  return printed;
}

/** A module that exports what stands in `text`. */
async function file(name: string, text: string): Promise<string> {
  const path = join(folder, name);
  const typeorm = pathToFileURL(createRequire(import.meta.url).resolve('typeorm')).href;
  await writeFile(
    path,
    `import typeorm from ${JSON.stringify(typeorm)};\nconst { DataSource, EntitySchema } = typeorm;\n${text}`,
  );
  return path;
}

const USERS = `new EntitySchema({ name: 'User', tableName: 'users', columns: {
  id: { type: 'int', primary: true }, tenantId: { type: 'text', name: 'tenant_id' } } })`;

describe('npx result-cache sql', () => {
  it('prints what installs the cache and its triggers', async () => {
    await database.pool.query(
      'CREATE TABLE users (id int PRIMARY KEY, tenant_id text); CREATE TABLE tb_post (id int PRIMARY KEY)',
    );
    const script = await run(
      '--watch',
      'users:member:tenant_id',
      '--watch',
      'tb_post',
      '--max-ttl',
      '1h',
      '--partitions',
      '2',
    );
    await database.pool.query(script);
    const { store } = await openCache(database, { autoInitialize: false, maxTtl: 3_600 });
    expect(await store.audit()).toEqual(
      new Map([
        ['member', null],
        ['post', null],
      ]),
    );
    expect((await store.watchedRelations()).get('"public"."users"')).toEqual({
      domain: 'member',
      tenantColumn: 'tenant_id',
      tagColumns: [['id'], ['tenant_id']],
    });
  });

  it('watches the entities of a DataSource without connecting to it', async () => {
    const path = await file(
      'source.mjs',
      `export const source = new DataSource({ type: 'postgres', host: 'nowhere', entities: [${USERS}] });`,
    );
    expect(await run('--data-source', path)).toContain(
      `SELECT fraiseql_cache.watch('"users"', 'user', 'tenant_id', '[["id"]]');`,
    );
  });

  it.each<[string, () => Promise<string[]>, string]>([
    ['a table of four parts', async () => ['--watch', 'a:b:c:d'], 'users:user:tenant_id'],
    ['a TTL that is none', async () => ['--max-ttl', 'soon'], 'soon'],
    ['a file that is not there', async () => ['--data-source', join(folder, 'none.mjs')], 'cannot be loaded'],
    [
      'a file without a DataSource',
      async () => ['--data-source', await file('empty.mjs', 'export const a = 1;')],
      'exports no DataSource',
    ],
    [
      'a DataSource of another database',
      async () => [
        '--data-source',
        await file('other.mjs', "export const a = new DataSource({ type: 'mysql', driver: {} });"),
      ],
      'PostgreSQL',
    ],
    [
      'a DataSource without entities',
      async () => ['--data-source', await file('bare.mjs', "export const a = new DataSource({ type: 'postgres' });")],
      'no entities',
    ],
    [
      'a tenant column that no entity has',
      async () => [
        '--tenant-column',
        'org',
        '--data-source',
        await file('org.mjs', `export default new DataSource({ type: 'postgres', entities: [${USERS}] });`),
      ],
      "'org'",
    ],
    ['a tenant column for nothing', async () => ['--tenant-column', 'org'], '--data-source'],
  ])('refuses %s', async (_, args, message) => {
    await expect(run(...(await args()))).rejects.toThrow(message);
  });
});

it('a domain is named alike in the database and without one', async () => {
  await openCache(database, { maxTtl: 3_600 });
  const names = [
    'users',
    'tb_user',
    'tv_posts',
    'tb_',
    'categories',
    'days',
    'boxes',
    'classes',
    'buses',
    'address',
    'churches',
    'news',
    's',
    'es',
    'ies',
    'Users',
    'x\nys',
    'daten',
  ];
  for (const name of names) {
    await database.pool.query(`CREATE SCHEMA IF NOT EXISTS names; CREATE TABLE names."${name}" ()`);
    const { rows } = await database.pool.query<{ domain: string }>(
      'SELECT fraiseql_cache.domain_of($1::regclass) AS domain',
      [`names."${name}"`],
    );
    expect([name, domainOf(name)]).toEqual([name, rows[0]!.domain]);
  }
});
