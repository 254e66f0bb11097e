import { LRUCache } from 'lru-cache';
import pg from 'pg';
import { type DependedRows } from '../../core/dependencies.js';
import { CacheConfigurationError } from '../../core/errors.js';
import { type ObservedStatement, type StatementDependencies, type StatementInference } from '../../core/inference.js';
import { type Connection, type TextRows } from '../connection.js';
import { quoteIdentifier } from '../sql.js';
import { type Narrowing } from './narrowing.js';
import { asArguments } from './parameters.js';
import { observeStatements } from './observe.js';
import { parseFacts, PROBE, type SessionFacts } from './session-facts.js';
import { NARROWABLE_QUERY, readsFrom, READS_QUERY, unknownReads, type StatementReads } from './statement-reads.js';

/** Options of finding out what statements read. */
export interface InferenceOptions {
  /**
   * What functions read whose body PostgreSQL does not parse (PL/pgSQL, C, SQL as a string), by signature:
   * `{ 'public.active_users(integer)': ['user'], 'public.slugify(text)': [] }`. In the database, a comment says the same:
   * `COMMENT ON FUNCTION active_users(integer) IS '@cache-domains user'`.
   */
  functions?: Readonly<Record<string, readonly string[]>>;
}

/** How {@link Inferences.tablesOf} looks at a statement. */
export interface TablesOfOptions {
  /** Schemas in which names are looked for. Default: those of the cache's own connections. */
  searchPath?: readonly string[];
}

type Query = (text: string, values?: unknown[], extra?: object) => Promise<TextRows>;

const MOST_TEXTS = 1_000;
const NAME = 'result_cache_inference';
/** A lock or a slow server must not hold up what waits to be stored. */
const LIMITS =
  "SET LOCAL lock_timeout = '2s'; SET LOCAL statement_timeout = '5s'; SET LOCAL standard_conforming_strings = on";

/**
 * Finds out which tables statements read, from PostgreSQL's own parse trees: the text becomes the body of a temporary
 * function, in a transaction that is rolled back, and the tree is followed through views, policies and functions. Nothing of
 * the text is executed. Remembered per text, until any definition in the database changes.
 */
export class Inferences implements StatementInference {
  private readonly memory = new LRUCache<string, StatementReads>({ max: MOST_TEXTS });
  private known: string | null = null;
  private asking: Promise<string> | null = null;

  constructor(
    private readonly connection: Connection,
    private readonly options: InferenceOptions,
    /** Resolves when the database has what this needs. */
    private readonly ready: () => Promise<unknown>,
  ) {}

  get knownVersion(): string | null {
    return this.known;
  }

  /** Callers of one turn share a statement. */
  async version(): Promise<string> {
    this.asking ??= new Promise<void>((resolve) => setImmediate(resolve)).then(async () => {
      this.asking = null;
      await this.ready();
      const [row] = await this.connection.rows({ text: 'SELECT fraiseql_cache.schema_fingerprint()' });
      return (this.known = row![0]!);
    });
    return this.asking;
  }

  observe(): void {
    observeStatements();
  }

  /**
   * The tables that a statement reads, views and functions followed, whatever the values of its parameters (`$1`) are.
   * Only what cannot be told is in `unknown`, as a sentence. For a view: `TABLE v_user`; for a function: `SELECT f($1)`.
   *
   * @throws the driver's error where the database cannot be asked.
   * @example
   * const { tables, unknown } = await store.inferences.tablesOf('SELECT * FROM v_user WHERE id = $1');
   * // tables: [{ name: 'public.users', domains: ['user'], isWatched: true }], unknown: null
   */
  async tablesOf(sql: string, { searchPath }: TablesOfOptions = {}): Promise<StatementReads> {
    return this.reads(sql, searchPath ?? null, null, await this.version());
  }

  /** {@link StatementInference.dependenciesOf}: `session` is a {@link SessionFacts}. */
  async dependenciesOf({ text, values, session }: ObservedStatement, version: string): Promise<StatementDependencies> {
    const facts = session as SessionFacts;
    const problem = whyUnusable(facts);
    if (problem !== null) return { domains: [], rows: [], problem };
    const reads = await this.reads(text, facts.schemas, facts.database, version);
    const unsafe = reads.unknown ?? reads.unwatched;
    if (reads.narrowing !== null) return { ...narrowed(reads.narrowing, values), problem: unsafe };
    const domains = [...reads.tables.flatMap((table) => table.domains), ...reads.declared];
    return { domains, rows: [], problem: unsafe };
  }

  /** @throws CacheConfigurationError for a function among the options that does not exist. */
  async check(): Promise<void> {
    for (const signature of Object.keys(this.options.functions ?? {})) {
      const [row] = await this.connection.rows({ text: 'SELECT to_regprocedure($1)::text', values: [signature] });
      if (row![0] === null)
        throw new CacheConfigurationError(
          `inference: functions names ${JSON.stringify(signature)}, which is no function of this database; write its signature with its schema: 'public.active_users(integer)'`,
        );
    }
  }

  private async reads(
    text: string,
    schemas: readonly string[] | null,
    database: string | null,
    version: string,
  ): Promise<StatementReads> {
    const key = JSON.stringify([version, schemas, database, text]);
    const remembered = this.memory.get(key);
    if (remembered !== undefined) return remembered;
    const reads = await this.connection
      .transaction((query) => inspect(query, text, schemas, database, this.options.functions ?? {}), 'ROLLBACK')
      .catch((error: Error) => sayRefused(error));
    this.memory.set(key, reads);
    return reads;
  }
}

/** Look at one statement, in a transaction that is rolled back afterwards. */
async function inspect(
  query: Query,
  text: string,
  schemas: readonly string[] | null,
  database: string | null,
  functions: Readonly<Record<string, readonly string[]>>,
): Promise<StatementReads> {
  await query(LIMITS);
  const declared = new Map<string, readonly string[]>();
  for (const [signature, domains] of Object.entries(functions)) {
    const [row] = await query('SELECT to_regprocedure($1)::oid::text', [signature]);
    if (row![0] !== null) declared.set(row![0]!, domains);
  }
  if (schemas !== null)
    await query("SELECT set_config('search_path', $1, true)", [
      [...schemas, 'pg_temp'].map(quoteIdentifier).join(', '),
    ]);
  const here = parseFacts(await query(PROBE));
  if (database !== null && here.database !== database)
    return unknownReads(
      "it reads another database than the cache's, where the cache is told of no writes: cache it in that one",
    );
  if (
    schemas !== null &&
    schemas.join('\0') !== here.schemas.filter((name) => name !== 'pg_catalog' || schemas.includes(name)).join('\0')
  )
    return unknownReads(
      `it looks for names in the schemas ${schemas.join(', ')}, and the cache's role may not use all of them: GRANT USAGE ON SCHEMA … to it`,
    );
  if (!speaksExtended()) return unknownReads('finding out what it reads needs pg 8.12 or newer: npm install pg@8');
  // By the extended protocol, which refuses a text of several statements instead of running them.
  await query(`PREPARE ${NAME} AS ${text}`, undefined, { queryMode: 'extended' });
  const types = await query(
    'SELECT u.type::text FROM pg_prepared_statements s, unnest(s.parameter_types) WITH ORDINALITY AS u (type, place) WHERE s.name = $1 ORDER BY u.place',
    [NAME],
  );
  await query(`DEALLOCATE ${NAME}`);
  const body = asArguments(
    text,
    types.map(([type]) => type!),
  );
  await query(
    `CREATE FUNCTION pg_temp.${NAME}(${body.types.join(', ')}) RETURNS void LANGUAGE sql BEGIN ATOMIC ${body.text}\n; END`,
  );
  const [[oid]] = (await query(
    'SELECT p.oid FROM pg_proc p WHERE p.pronamespace = pg_my_temp_schema() AND p.proname = $1',
    [NAME],
  )) as [[string]];
  // Parameters that share an argument cannot be told apart.
  const narrowable = body.text === text ? await query(NARROWABLE_QUERY, [oid]) : [];
  return readsFrom(await query(READS_QUERY, [oid, [...declared.keys()]]), declared, narrowable);
}

/** Rows by the values that the statement was sent with; of those that make no tag the whole domain. */
function narrowed(
  { whole, rows }: Narrowing,
  values: readonly unknown[],
): Pick<StatementDependencies, 'domains' | 'rows'> {
  const domains = [...whole];
  const found: DependedRows[] = [];
  for (const { domain, column, parameter } of rows) {
    const value = values[parameter - 1];
    if (isNameable(value)) found.push([domain, { [column]: String(value) }]);
    else domains.push(domain);
  }
  return { domains, rows: found };
}

/** Whether the driver sends it as the text that it is written as here. */
function isNameable(value: unknown): value is string | number | bigint {
  return typeof value === 'string' ? !/\0|\p{Surrogate}/u.test(value) : ['number', 'bigint'].includes(typeof value);
}

function whyUnusable({
  isStrangersTransaction,
  onReplica,
  hasTemporaryTables,
  hasStandardStrings,
  isUtf8,
}: SessionFacts): string | null {
  if (isStrangersTransaction)
    return 'it reads inside a transaction that was open before, which sees what others do not: begin it inside, or give it as within';
  if (onReplica)
    return 'it reads from a replica, which may be behind what the cache knows: have it read from the primary';
  if (hasTemporaryTables)
    return 'its connection has temporary tables, which may stand in for others: read it on another connection';
  if (!isUtf8)
    return 'its connection has a client_encoding that is not UTF8, so the server reads other letters than were sent: leave client_encoding alone';
  return hasStandardStrings ? null : 'its connection has standard_conforming_strings off: turn it on';
}

/** What the server says about a statement is the answer; that it cannot be asked is none. */
function sayRefused(error: Error & { code?: string }): StatementReads {
  const { code = '', message } = error;
  if (!/^(0A|22|42|54)/.test(code)) throw error;
  if (code === '42501' && /temporary/.test(message))
    return unknownReads(
      `finding out what it reads needs the right to create a temporary function (${message}): GRANT TEMPORARY ON DATABASE … to the cache's role`,
    );
  return unknownReads(`PostgreSQL does not tell what a statement of it reads (${message})`);
}

/** Whether this `pg` can be told to use the extended protocol for a statement without parameters. */
function speaksExtended(): boolean {
  const query = new pg.Query({ text: 'SELECT 1', queryMode: 'extended' } as pg.QueryConfig);
  return (query as unknown as { requiresPreparation(): boolean }).requiresPreparation();
}
