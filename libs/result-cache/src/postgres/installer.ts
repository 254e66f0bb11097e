import { CacheConfigurationError } from '../core/errors.js';
import { type Connection } from './connection.js';
import { createCacheCall, grants, lockCall, watchCall } from './install-script.js';
import { type RowLevelSecurity } from './postgres-cache-options.js';
import { migrations, quoteIdentifier, statement } from './sql.js';
import { type TableName } from './table-name.js';
import { oneRequestEach } from './watch-requests.js';
import { type WatchedTable, type WatchRequest } from './watched-table.js';

const OLDEST_SERVER = 140_000;
const EXTENSION = 'pg_fraiseql_cache';
/** As `lock_cache` has it, and the tenancy options. */
const DEFAULT_SETTING = 'app.current_tenant_id';

export interface InstallOptions {
  table: TableName;
  /** Seconds. */
  maxTtl: number;
  partitions: number;
  /** Whether DDL may run. If not, everything is verified and what is missing is reported. */
  autoInitialize: boolean;
  /** Whether the table must be locked by tenant for this role. */
  rowLevelSecurity: boolean | RowLevelSecurity;
  watch: readonly WatchRequest[];
}

export interface Installation {
  /** The cache's id, which names its functions. */
  cacheId: number;
  /** Version of the `pg_fraiseql_cache` extension, or `null` where the same objects were installed as plain SQL. */
  extensionVersion: string | null;
  /** This role sees a tenant's entries only, and reads the others through a function. */
  isLocked: boolean;
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
  const { cacheId, extensionVersion, isLocked } = after;
  await checkLock(query, after, options);
  return { cacheId, extensionVersion, isLocked };
}

interface State {
  database: string;
  role: string;
  extensionVersion: string | null;
  /** Names of the migrations still to be applied. */
  pending: string[];
  cacheId: number | null;
  isLocked: boolean;
}

/** What is there. Nothing of what is in the schema is read or run before it is clear whose it is. */
async function inspect(query: Query, options: InstallOptions): Promise<State> {
  const { schema, table, quoted } = options.table;
  const [row] = await query(
    `SELECT current_setting('server_version_num'), current_database(), current_user,
            (SELECT extversion FROM pg_extension WHERE extname = $1),
            (SELECT o.rolname FROM pg_namespace n JOIN pg_roles o ON o.oid = n.nspowner JOIN pg_roles me ON me.rolname = current_user
              WHERE n.nspname = 'fraiseql_cache' AND o.oid <> me.oid AND NOT o.rolsuper
                AND o.oid <> (SELECT d.datdba FROM pg_database d WHERE d.datname = current_database())
                -- A superuser is a member of everything, which says nothing about whom to trust.
                AND (me.rolsuper OR NOT pg_has_role(o.oid, 'MEMBER'))),
            count(*) FILTER (WHERE c.relname = 'migration' AND n.nspname = 'fraiseql_cache'),
            bool_and(has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'))::text,
            bool_or((n.nspname, c.relname) = ($2, $3))::text
       FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE (n.nspname, c.relname) IN (('fraiseql_cache', 'migration'), ('fraiseql_cache', 'caches'), ('fraiseql_cache', 'current_incarnation'), ($2, $3))`,
    [EXTENSION, schema, table],
  );
  const [serverVersion, database, role, extensionVersion, stranger, installed, readable, hasTable] = row as [
    string,
    string,
    string,
    string | null,
    string | null,
    string,
    string | null,
    string | null,
  ];
  checkServerVersion(Number(serverVersion));
  if (stranger !== null) throw strangersSchema(stranger, role);
  if (readable === 'false')
    throw new NotInstalledError(`The role ${role} may not read what the cache needs.`, [
      ...(hasTable === 'true' ? [] : [createCacheCall(options.table, options.maxTtl, options.partitions)]),
      ...options.watch.map(watchCall),
      ...grants(options.table, role),
    ]);
  const applied = new Set(
    installed === '0' ? [] : (await query('SELECT name FROM fraiseql_cache.migration')).map(([name]) => name),
  );
  const pending = migrations()
    .map(({ name }) => name)
    .filter((name) => !applied.has(name));
  const [cache] =
    pending.length > 0
      ? []
      : await query(
          `SELECT id, row_security_active(to_regclass($4))::text FROM fraiseql_cache.caches
            WHERE relation = format('%I.%I', $1::text, $2::text) AND max_ttl >= $3 AND to_regclass($4) IS NOT NULL`,
          [schema, table, options.maxTtl, quoted],
        );
  if (cache !== undefined) await checkFunctions(query, role, options);
  return {
    database,
    role,
    extensionVersion,
    pending,
    cacheId: cache ? Number(cache[0]) : null,
    isLocked: cache?.[1] === 'true',
  };
}

/** Whether this role may call what using the cache takes. */
async function checkFunctions(query: Query, role: string, options: InstallOptions): Promise<void> {
  const forbidden = await query(
    `SELECT f::oid::regprocedure::text FROM fraiseql_cache.functions_for_use() f WHERE NOT has_function_privilege(f::oid, 'EXECUTE') LIMIT 1`,
  );
  if (forbidden.length > 0)
    throw new NotInstalledError(`The role ${role} may not call what the cache needs.`, grants(options.table, role));
}

/**
 * Whether the table is locked for this role as it should be: nothing is turned on from here, because a role that could do it
 * owns the table, and is not held by it. Where somebody made policies of his own, the cache could not read its rows.
 */
async function checkLock(query: Query, { role, cacheId, isLocked }: State, options: InstallOptions): Promise<void> {
  const { table, rowLevelSecurity } = options;
  if (!isLocked && rowLevelSecurity === false) return;
  const remedy = [
    '-- as the owner of the table:',
    ...lockCall(table, rowLevelSecurity || true),
    ...grants(table, role),
  ];
  if (!isLocked)
    throw new NotInstalledError(
      `rowLevelSecurity: the role ${role} sees the entries of all tenants in ${table.quoted}. Let another role own the table and lock it; policies hold neither its owner and that role's members, nor superusers, nor roles with BYPASSRLS.`,
      remedy,
    );
  const setting = typeof rowLevelSecurity === 'object' ? rowLevelSecurity.setting : DEFAULT_SETTING;
  const [row] = await query(
    `SELECT (to_regprocedure($1) IS NOT NULL)::text,
            bool_and(p.polname = 'own_tenant' AND strpos(pg_get_expr(p.polqual, p.polrelid), quote_literal($2)) > 0)::text
       FROM pg_policy p WHERE p.polrelid = to_regclass($3)`,
    [`fraiseql_cache.rows_${cacheId}(text[])`, setting, table.quoted],
  );
  const [hasFunctions, isOurs] = row!;
  if (hasFunctions !== 'true')
    throw new NotInstalledError(`Policies on ${table.quoted} keep the role ${role} from reading its entries.`, remedy);
  if (rowLevelSecurity !== false && isOurs !== 'true')
    throw new NotInstalledError(
      `rowLevelSecurity: ${table.quoted} has other policies than the one on the setting ${setting}; drop those that are not meant.`,
      remedy,
    );
}

/**
 * @param version As in `server_version_num`: 180004.
 * @throws CacheConfigurationError
 */
export function checkServerVersion(version: number): void {
  if (version < OLDEST_SERVER)
    throw new CacheConfigurationError(
      `PostgreSQL ${Math.floor(version / 10_000)} is too old for this cache; it needs ${OLDEST_SERVER / 10_000} or newer`,
    );
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
function strangersSchema(stranger: string, role: string): NotInstalledError {
  return new NotInstalledError(
    `The schema fraiseql_cache belongs to ${stranger}, neither to ${role} nor to the owner of the database.`,
    [
      'DROP SCHEMA fraiseql_cache CASCADE; -- after a look into it: all but the cascade rules is made anew at the next start',
      `-- or, where ${stranger} is meant to own it: connect as ${stranger}, or as a member (GRANT ${quoteIdentifier(stranger)} TO …) that is no superuser`,
    ],
  );
}

async function createSchema(query: Query, state: State): Promise<void> {
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

/** Install the triggers that are missing. Where everything is in place this takes no lock and needs no rights. */
async function watchTables(query: Query, options: InstallOptions): Promise<void> {
  const refused: WatchedTable[] = [];
  let cause: unknown;
  for (const table of await distinct(query, options.watch)) {
    const { domain, tenantColumn = null, tagColumns } = table;
    const values = [table.table, domain, tenantColumn, tagColumns ? JSON.stringify(tagColumns) : null];
    try {
      const [row] = await query(`SELECT fraiseql_cache.is_watched($1::regclass, $2, $3, $4::jsonb)::text`, values);
      if (row![0] === 'true') continue;
      if (options.autoInitialize) await query('SELECT fraiseql_cache.watch($1::regclass, $2, $3, $4::jsonb)', values);
      else refused.push(table);
    } catch (error) {
      if (!isDenied(error)) throw wrongTable(error as Error);
      refused.push(table);
      cause = error;
    }
  }
  if (refused.length === 0) return;
  const names = refused.map(({ table }) => table).join(', ');
  throw new NotInstalledError(
    options.autoInitialize
      ? `This role may not create triggers on ${names}. A superuser may, or who owns both them and the schema fraiseql_cache.`
      : `There are no triggers yet on ${names}, and autoInitialize is off.`,
    refused.map(watchCall),
    { cause },
  );
}

/** One request for each table, under whatever names it was asked for. */
async function distinct(query: Query, watch: readonly WatchRequest[]): Promise<readonly WatchedTable[]> {
  if (watch.length < 2) return watch;
  const rows = await query(statement('same-tables'), [watch.map(({ table }) => table)]).catch((error: Error) => {
    throw wrongTable(error);
  });
  return oneRequestEach(watch, new Map(rows.map(([place, first]) => [Number(place) - 1, Number(first) - 1])));
}

/** A table that cannot be watched, as one line; what is no fault of the options is passed on. */
function wrongTable(error: Error & { code?: string }): Error {
  if (['42P01', '3F000', '42602'].includes(error.code ?? ''))
    return new CacheConfigurationError(
      `watch: ${error.message}; create the table before the cache starts, or write its name as SQL would: 'users', 'blog.users', '"Users"'`,
      { cause: error },
    );
  if (['42703', '42809'].includes(error.code ?? ''))
    return new CacheConfigurationError(`watch: ${error.message}`, { cause: error });
  return error;
}

/** Turn "permission denied" into the statements that an administrator has to run, and a wrong table name into one line. */
async function asPermitted(state: State, options: InstallOptions, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    if (isDenied(error))
      throw new NotInstalledError(
        `The role ${state.role} may not create the cache's objects (${message}).`,
        installStatements(options, state),
        { cause: error },
      );
    if (code === '42P07') throw new CacheConfigurationError(`tableName: ${message}`, { cause: error });
    if (code === '3F000')
      throw new CacheConfigurationError(
        `tableName: ${message}; create it before the cache starts: CREATE SCHEMA ${quoteIdentifier(options.table.schema)}`,
        { cause: error },
      );
    throw error;
  }
}

const SCRIPT = 'the script that `npx result-cache sql` prints (or installScript() returns)';

function isDenied(error: unknown): boolean {
  return (error as { code?: string }).code === '42501';
}

function installStatements(
  { table, maxTtl, partitions, autoInitialize, rowLevelSecurity }: InstallOptions,
  state: State,
): string[] {
  if (state.pending.length === 0)
    return [
      createCacheCall(table, maxTtl, partitions),
      ...lockCall(table, rowLevelSecurity),
      ...grants(table, state.role),
    ];
  if (state.extensionVersion !== null) return [`ALTER EXTENSION ${EXTENSION} UPDATE;`];
  if (!autoInitialize) return [`-- as the owner of the watched tables: ${SCRIPT}`];
  return [
    `GRANT CREATE ON DATABASE ${quoteIdentifier(state.database)} TO ${quoteIdentifier(state.role)};`,
    `-- or, as a role that may: ${SCRIPT}`,
  ];
}
