import { CacheConfigurationError } from '../core/errors.js';
import { type Connection } from './connection.js';
import { migrations, quoteIdentifier } from './sql.js';
import { type TableName } from './table-name.js';
import { type WatchedTable } from './watched-table.js';

const OLDEST_SERVER = 140_000;
const EXTENSION = 'pg_fraiseql_cache';

export interface InstallOptions {
  table: TableName;
  /** Seconds. */
  maxTtl: number;
  partitions: number;
  /** Whether DDL may run. If not, everything is verified and what is missing is reported. */
  autoInitialize: boolean;
  watch: readonly WatchedTable[];
}

export interface Installation {
  /** The cache's id, which names its functions. */
  cacheId: number;
  /** Version of the `pg_fraiseql_cache` extension, or `null` where the same objects were installed as plain SQL. */
  extensionVersion: string | null;
}

/** The database cannot hold the cache until somebody with more rights runs `statements`. */
export class NotInstalledError extends CacheConfigurationError {
  constructor(
    reason: string,
    readonly statements: readonly string[],
    options?: ErrorOptions,
  ) {
    super(`${reason} Run:\n  ${statements.join('\n  ')}`, options);
  }
}

type Query = (text: string, values?: unknown[]) => Promise<(string | null)[][]>;

/**
 * Bring the database to the state this version needs. Safe from any number of processes at once: all look first, those
 * that find something missing queue on one lock, and the losers find nothing left to do.
 *
 * @throws NotInstalledError with the statements to run where this role may not, or `autoInitialize` is off.
 */
export async function install(connection: Connection, options: InstallOptions): Promise<Installation> {
  const query: Query = (text, values) => connection.rows({ text, values });
  const before = await inspect(query, options);
  if (before.serverVersion < OLDEST_SERVER)
    throw new CacheConfigurationError(
      `PostgreSQL ${Math.floor(before.serverVersion / 10_000)} is too old for this cache; it needs 14 or newer`,
    );
  refuseStranger(before);

  if (before.pending.length > 0 || before.cacheId === null) {
    if (!options.autoInitialize)
      throw new NotInstalledError(
        'The cache is not installed in this database and autoInitialize is off.',
        installStatements(options, before),
      );
    await asPermitted(before, options, () =>
      connection.transaction(async (locked) => {
        await locked(`SELECT pg_advisory_xact_lock(hashtext('fraiseql_cache.install'))`);
        await installObjects(locked, options);
      }),
    );
  }

  await query('SELECT fraiseql_cache.ensure_incarnation()');
  await watchTables(query, options);
  const after = await inspect(query, options);
  if (after.cacheId === null) throw new Error(`installing ${options.table.quoted} left no cache behind`);
  return { cacheId: after.cacheId, extensionVersion: after.extensionVersion };
}

/** Everything `install` would do, as text for an administrator or a migration. */
export function installScript(options: Pick<InstallOptions, 'table' | 'maxTtl' | 'partitions' | 'watch'>): string {
  return [
    'CREATE SCHEMA fraiseql_cache;',
    ...migrations().map(
      ({ name, sql }) => `${sql}\nINSERT INTO fraiseql_cache.migration (name) VALUES (${literal(name)});`,
    ),
    createCacheCall(options),
    'SELECT fraiseql_cache.ensure_incarnation();',
    ...options.watch.map(watchCall),
  ].join('\n\n');
}

interface State {
  serverVersion: number;
  database: string;
  role: string;
  extensionVersion: string | null;
  /** Owner of the schema, if it is there and belongs to somebody whose functions this role should not run. */
  stranger: string | null;
  /** Names of the migrations still to be applied. */
  pending: string[];
  cacheId: number | null;
}

async function inspect(query: Query, options: InstallOptions): Promise<State> {
  const [row] = await query(
    `SELECT current_setting('server_version_num'), current_database(), current_user,
            (SELECT extversion FROM pg_extension WHERE extname = $1), to_regclass('fraiseql_cache.migration'),
            (SELECT o.rolname FROM pg_namespace n JOIN pg_roles o ON o.oid = n.nspowner JOIN pg_roles me ON me.rolname = current_user
              WHERE n.nspname = 'fraiseql_cache' AND o.oid <> me.oid AND NOT o.rolsuper
                AND o.oid <> (SELECT d.datdba FROM pg_database d WHERE d.datname = current_database())
                -- A superuser is a member of everything, which says nothing about whom to trust.
                AND (me.rolsuper OR NOT pg_has_role(o.oid, 'MEMBER')))`,
    [EXTENSION],
  );
  const [serverVersion, database, role, extensionVersion, installed, stranger] = row as [
    string,
    string,
    string,
    string | null,
    string | null,
    string | null,
  ];
  const applied = new Set(
    installed ? (await query('SELECT name FROM fraiseql_cache.migration')).map(([name]) => name) : [],
  );
  const pending = migrations()
    .map(({ name }) => name)
    .filter((name) => !applied.has(name));
  const [cache] =
    pending.length > 0
      ? []
      : await query(
          "SELECT id FROM fraiseql_cache.caches WHERE relation = format('%I.%I', $1::text, $2::text) AND max_ttl >= $3 AND to_regclass(relation) IS NOT NULL",
          [options.table.schema, options.table.table, options.maxTtl],
        );
  return {
    serverVersion: Number(serverVersion),
    database,
    role,
    extensionVersion,
    stranger,
    pending,
    cacheId: cache ? Number(cache[0]) : null,
  };
}

async function installObjects(query: Query, options: InstallOptions): Promise<void> {
  const state = await inspect(query, options);
  if (state.pending.length > 0) {
    if (state.extensionVersion !== null)
      throw new NotInstalledError(`The extension ${EXTENSION} ${state.extensionVersion} is older than this package.`, [
        `ALTER EXTENSION ${EXTENSION} UPDATE;`,
      ]);
    await createSchema(query, state);
    for (const { name, sql } of migrations()) {
      if (!state.pending.includes(name)) continue;
      await query(sql);
      await query('INSERT INTO fraiseql_cache.migration (name) VALUES ($1)', [name]);
    }
  }
  const { schema, table } = options.table;
  await query('SELECT fraiseql_cache.create_cache($1, $2, $3, $4)', [
    schema,
    table,
    options.maxTtl,
    options.partitions,
  ]);
}

/**
 * Anybody with CREATE on the database could have made a schema of this name before us, and functions in it run with the
 * rights of whoever calls them: only our own, the database owner's and a superuser's are built upon.
 */
function refuseStranger({ stranger, role }: State): void {
  if (stranger === null) return;
  throw new NotInstalledError(
    `The schema fraiseql_cache belongs to ${stranger}, neither to ${role} nor to the owner of the database.`,
    [
      'DROP SCHEMA fraiseql_cache CASCADE; -- after a look into it: all but cascade_rules is made anew at the next start',
      `-- or, where ${stranger} is meant to own it: connect as ${stranger}, or as a member (GRANT ${quoteIdentifier(stranger)} TO …) that is no superuser`,
    ],
  );
}

async function createSchema(query: Query, state: State): Promise<void> {
  // Looked at once more, because it may have been made since; the lock is no help against one who does not take it.
  refuseStranger(state);
  const [schema] = await query(
    `SELECT EXISTS (SELECT FROM pg_depend d WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = n.oid)::text
       FROM pg_namespace n WHERE nspname = 'fraiseql_cache'`,
  );
  if (schema === undefined) {
    await query('CREATE SCHEMA fraiseql_cache');
    return;
  }
  const fresh = migrations().length === state.pending.length;
  if (fresh && schema[0] === 'true')
    throw new NotInstalledError('The schema fraiseql_cache holds objects that are not this package’s.', [
      'DROP SCHEMA fraiseql_cache CASCADE; -- after a look into it',
    ]);
}

async function watchTables(query: Query, options: InstallOptions): Promise<void> {
  for (const table of options.watch) {
    try {
      const values = [
        table.table,
        table.domain,
        table.tenantColumn ?? null,
        table.tagColumns ? JSON.stringify(table.tagColumns) : null,
      ];
      // What is installed already needs no rights and takes no lock.
      const call = 'fraiseql_cache.watch($1::regclass, $2, $3, $4::jsonb)';
      if (options.autoInitialize) await query(`SELECT ${call}`, values);
    } catch (error) {
      const code = (error as { code?: string }).code;
      if (code === '42501')
        throw new NotInstalledError(`This role may not create triggers on ${table.table}.`, [watchCall(table)], {
          cause: error,
        });
      if (code === '42P01' || code === '42703' || code === '42809')
        throw new CacheConfigurationError(`watch: ${(error as Error).message}`, { cause: error });
      throw error;
    }
  }
}

/** Turn "permission denied" into the statements that an administrator has to run. */
async function asPermitted(state: State, options: InstallOptions, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if ((error as { code?: string }).code !== '42501') throw error;
    throw new NotInstalledError(
      `The role ${state.role} may not create the cache's objects (${(error as Error).message}).`,
      installStatements(options, state),
      {
        cause: error,
      },
    );
  }
}

function installStatements(options: InstallOptions, state: State): string[] {
  if (state.pending.length === 0) return [createCacheCall(options)];
  if (state.extensionVersion !== null) return [`ALTER EXTENSION ${EXTENSION} UPDATE;`];
  return [
    `GRANT CREATE ON DATABASE ${quoteIdentifier(state.database)} TO ${quoteIdentifier(state.role)};`,
    `-- or, as a role that may: CREATE EXTENSION ${EXTENSION}; or the script that installScript() returns`,
  ];
}

function createCacheCall({
  table,
  maxTtl,
  partitions,
}: Pick<InstallOptions, 'table' | 'maxTtl' | 'partitions'>): string {
  return `SELECT fraiseql_cache.create_cache(${literal(table.schema)}, ${literal(table.table)}, ${maxTtl}, ${partitions});`;
}

function watchCall(table: WatchedTable): string {
  const rest = [
    table.tenantColumn ? literal(table.tenantColumn) : 'NULL',
    table.tagColumns ? literal(JSON.stringify(table.tagColumns)) : 'NULL',
  ];
  return `SELECT fraiseql_cache.watch(${literal(table.table)}, ${literal(table.domain)}, ${rest.join(', ')});`;
}

function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
