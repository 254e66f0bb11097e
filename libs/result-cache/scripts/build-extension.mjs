/**
 * Generate the SQL of the extension pg_fraiseql_cache from the migrations that the package runs where the extension is
 * not installed, so that a database holds the same objects either way.
 *
 * A new release of the extension: give the newest entry of `releases` the name of its last migration as `upTo`, append
 * the new version, and set it as `default_version` in the control file. The new migrations then become the update
 * script, `pg_fraiseql_cache--1.0--1.1.sql`; the script of 1.0 stays as it was.
 */
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { copyFile, rename, writeFile } from 'node:fs/promises';
import { pathToFileURL } from 'node:url';

const NAME = 'pg_fraiseql_cache';
const extensionFolder = new URL('../extension/', import.meta.url);
const migrationFolder = new URL('../src/postgres/sql/migrations/', import.meta.url);

export const releases = [{ version: '1.0' }];

/**
 * What people decided, and what goes with objects that a dump holds as well: the trigger functions and caches made later
 * are no members, so they are dumped as they are, numbered by these rows. Not dumped: the log, its incarnation and its
 * samples, which say nothing about another database, and the names of migrations, which the scripts insert.
 * Identity columns need their sequences with them.
 */
const dumped = {
  '0003-watched-tables': ['watched', 'watched_id_seq'],
  '0005-caches': ['caches', 'caches_id_seq'],
  '0006-fraiseql-client': ['cascade_rules', 'tenant'],
  '0008-cascade-rules': ['cascade_detail', 'cascade_detail_id_seq'],
};

export function extensionScripts(given = releases, migrations = readMigrations()) {
  const scripts = {};
  let from = null;
  let rest = [...migrations];
  for (const { version, upTo } of given) {
    const end = upTo === undefined ? rest.length : rest.findIndex(({ name }) => name === upTo) + 1;
    if (upTo !== undefined && end === 0)
      throw new Error(`release ${version} ends with the migration ${upTo}, which is not among those left for it`);
    const path = from === null ? version : `${from}--${version}`;
    scripts[`${NAME}--${path}.sql`] = script(from, version, rest.slice(0, end));
    rest = rest.slice(end);
    from = version;
  }
  if (rest.length > 0) throw new Error(`no release holds the migration ${rest[0].name}; leave out upTo in the newest`);
  return scripts;
}

export async function writeExtension(directory = extensionFolder, scripts = extensionScripts()) {
  const folder = directory instanceof URL ? directory : pathToFileURL(`${directory}/`);
  const place = async (file, write) => {
    const temporary = new URL(`.${file}.${randomBytes(6).toString('hex')}`, folder);
    await write(temporary);
    await rename(temporary, new URL(file, folder));
  };
  for (const [file, text] of Object.entries(scripts)) await place(file, (path) => writeFile(path, text));
  if (folder.href !== extensionFolder.href) {
    const control = `${NAME}.control`;
    await place(control, (path) => copyFile(new URL(control, extensionFolder), path));
  }
}

function script(from, version, migrations) {
  const statement = from === null ? `CREATE EXTENSION ${NAME}` : `ALTER EXTENSION ${NAME} UPDATE TO '${version}'`;
  return [
    // psql stops here; CREATE EXTENSION ignores the line.
    `\\echo Use "${statement}" to load this file. \\quit`,
    prologue(from === null),
    ...migrations.map(({ name, sql }) =>
      [
        `-- ${name}`,
        sql.trim(),
        `INSERT INTO fraiseql_cache.migration (name) VALUES ('${name}');`,
        ...(dumped[name] ?? []).map(
          (table) => `SELECT pg_extension_config_dump('fraiseql_cache.${table}'::regclass, '');`,
        ),
      ].join('\n'),
    ),
    `SELECT set_config('role', current_setting('fraiseql_cache.installer'), true);`,
    '',
  ].join('\n\n');
}

/**
 * CREATE EXTENSION uses a schema that is there already, whoever owns it. Somebody may have planted functions in it, so it
 * must be empty; and whoever owns it can put some there later, so that the objects (functions with their owner's rights
 * among them) must not have more rights than he has: they are created as his. That is also what a restored dump needs:
 * it creates the schema for its owner, then the extension as whoever restores, then trigger functions for the owner.
 */
function prologue(fresh) {
  const empty = `
  IF EXISTS (SELECT FROM pg_depend d WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = schema.oid
               AND d.classid <> 'pg_extension'::regclass) THEN
    RAISE EXCEPTION 'the schema fraiseql_cache holds objects already'
      USING HINT = 'Where nestjs-result-cache installed them, it works without the extension. To start anew: DROP SCHEMA fraiseql_cache CASCADE, after a look into it.';
  END IF;`;
  return `SET LOCAL search_path = pg_catalog, pg_temp;

DO $prologue$
DECLARE
  schema record;
BEGIN
  SELECT n.oid, pg_get_userbyid(n.nspowner) AS owner INTO schema FROM pg_namespace n WHERE n.nspname = 'fraiseql_cache';${fresh ? empty : ''}
  PERFORM set_config('fraiseql_cache.installer', current_setting('role'), true);
  IF schema.owner <> current_user THEN
    EXECUTE format('SET LOCAL ROLE %I', schema.owner);
  END IF;
END $prologue$;`;
}

/** In the order the package runs them (see `migrations()` in src/postgres/sql.ts). */
function readMigrations() {
  return readdirSync(migrationFolder)
    .filter((file) => file.endsWith('.sql'))
    .sort()
    .map((file) => ({
      name: file.replace(/\.sql$/, ''),
      sql: readFileSync(new URL(file, migrationFolder), 'utf8'),
    }));
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await writeExtension();
