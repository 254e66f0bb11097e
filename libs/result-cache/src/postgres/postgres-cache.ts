import { type BreakerStatus } from '../core/circuit-breaker.js';
import { systemClock } from '../core/clock.js';
import { DEFAULT_MAX_TTL } from '../core/defaults.js';
import { type Dependencies } from '../core/dependencies.js';
import { RefusedValueError } from '../core/errors.js';
import { snapshotText, storable, type Fence } from '../core/fence.js';
import {
  type CacheStore,
  type DomainReport,
  type ExchangeAnswer,
  type ExchangeRequest,
  type Fill,
  type Proof,
  type PurgeResult,
  type Queryable,
  type StoredRow,
  type StoreStats,
} from '../core/store.js';
import { Answer } from './answer.js';
import { CascadeStore } from './cascade-store.js';
import { Connection, type Statement, type TextRows } from './connection.js';
import { isMissingObject, isRefusedData, isUnreachable } from './database-errors.js';
import { Inferences } from './inference/index.js';
import { install } from './installer.js';
import { PostgresLeases } from './leases.js';
import { checkStoreOptions, type PostgresCacheOptions, type TableLimits } from './postgres-cache-options.js';
import { Readiness, type Availability } from './readiness.js';
import { quoteIdentifier, quoteLiteral, statement } from './sql.js';
import { claimTable } from './table-claims.js';
import { DEFAULT_TABLE, parseTableName, type TableName } from './table-name.js';
import { type WatchedRelation, type WatchRequest } from './watched-table.js';
import { arrayLiteral, MOST_TOUCHES, parseAnswer, parseProof, specText } from './wire.js';

/** A snapshot that no transaction reaches: nothing was touched since. */
const END_OF_TIME = '9223372036854775807:9223372036854775807:';
const PURGE_BATCH = 1_000;
const ALONE = `SELECT CASE WHEN pg_try_advisory_xact_lock(hashtext('fraiseql_cache.purge'), $1)`;
/** Fills are sent one at a time: one on a dead connection would hold up all others. Leases are not waited for longer either. */
const FILL_WITHIN_MS = 2_500;
/** What others may be waiting for, and what is short wherever the server answers at all. */
const SHORT_WITHIN_MS = 5_000;
const PING_WITHIN_MS = 2_000;

/** Finds further tables to watch, with a way to ask the cache's own database. */
export type WatchSource = (
  query: (text: string, values?: unknown[]) => Promise<TextRows>,
) => Promise<readonly WatchRequest[]>;

/**
 * The Postgres tier: entries in an UNLOGGED table, the invalidation log beside them, in the database that holds the data.
 *
 * @example
 * const store = new PostgresCache({ connection: process.env.DATABASE_URL, watch: [{ table: 'users', domain: 'user' }] });
 * await store.initialize();
 * const cache = new ResultCache({ store });
 */
export class PostgresCache implements CacheStore {
  readonly table: TableName;
  /** Finds out which tables statements read. */
  readonly inferences: Inferences;
  /** Has one process compute a missing value while the others wait. */
  readonly leases: PostgresLeases;
  private readonly connection: Connection;
  private readonly statements: Statements;
  private readonly readiness: Readiness;
  private readonly release: () => void;
  private readonly watchSources: WatchSource[] = [];
  private relations: Answer<ReadonlyMap<string, WatchedRelation>> | null = null;
  private closing: Promise<void> | null = null;
  private cascadeStore: CascadeStore | undefined;
  private locked: { cacheId: number; statements: Statements } | undefined;

  /** @throws CacheConfigurationError for a wrong connection or table name. */
  constructor(private readonly options: PostgresCacheOptions) {
    this.table = parseTableName(options.tableName ?? DEFAULT_TABLE);
    checkStoreOptions(options);
    this.connection = Connection.from(options.connection, options.poolSize);
    this.release = claimTable(this.connection.identity, this.table.quoted, {
      maxTtl: this.maxTtl,
      partitions: options.partitions ?? 0,
    });
    this.statements = statementsOn(this.table, this.table.quoted, entriesOf(this.table.quoted));
    const access = {
      install: async () => {
        this.relations = null;
        return install(this.connection, {
          table: this.table,
          maxTtl: this.maxTtl,
          partitions: options.partitions ?? 0,
          autoInitialize: options.autoInitialize ?? true,
          rowLevelSecurity: options.rowLevelSecurity ?? false,
          watch: await this.tablesToWatch(),
        });
      },
      ping: () => this.connection.rows({ text: 'SELECT 1', query_timeout: PING_WITHIN_MS }),
    };
    this.readiness = new Readiness(access, options.clock ?? systemClock, options.breaker);
    this.inferences = new Inferences(this.connection, options.inference ?? {}, () => this.readiness.ready());
    this.leases = new PostgresLeases(async (name, text, values) => {
      const { cacheId } = await this.readiness.ready();
      return this.run(name, text, [cacheId, ...values], FILL_WITHIN_MS);
    });
  }

  /** Seconds an entry can live at most. */
  get maxTtl(): number {
    return this.options.maxTtl ?? DEFAULT_MAX_TTL;
  }

  /** What its table may hold. */
  get limits(): TableLimits {
    const { maxTableEntries, maxTableBytes } = this.options;
    return { maxTableEntries, maxTableBytes };
  }

  /** Whether writes are tracked, by the extension or by the same objects as plain SQL. */
  get hasDomainVersioning(): boolean {
    return this.readiness.installation !== null;
  }

  /** Version of the `pg_fraiseql_cache` extension; `null` where its objects were installed as plain SQL. */
  get extensionVersion(): string | null {
    return this.readiness.installation?.extensionVersion ?? null;
  }

  get availability(): Availability {
    return this.readiness.availability;
  }

  /** Whether callers are turned away at present, because the database did not answer. */
  get breaker(): BreakerStatus {
    return this.readiness.status;
  }

  /**
   * Create or verify everything the cache needs. Called by the first use as well.
   * @throws NotInstalledError where rights are missing; CacheConfigurationError for wrong options; the driver's error
   * where the database cannot be reached (a later use tries again by itself).
   */
  async initialize(): Promise<void> {
    await this.readiness.install();
    await this.inferences.check();
  }

  /**
   * Watch further tables, found whenever the cache is installed. Call it before {@link initialize}.
   * @internal
   */
  watchAlso(source: WatchSource): void {
    this.watchSources.push(source);
    this.readiness.forget();
  }

  /** The watched tables, by `"schema"."table"`; asked for again when an exchange tells that they changed, and after an audit. */
  async watchedRelations(): Promise<ReadonlyMap<string, WatchedRelation>> {
    await this.readiness.ready();
    this.relations ??= new Answer(
      this.readRelations().catch((error: Error) => {
        this.relations = null;
        throw error;
      }),
    );
    return this.relations.promise;
  }

  /**
   * The same where nobody needs to be asked or waited for.
   * @internal
   */
  get knownRelations(): ReadonlyMap<string, WatchedRelation> | undefined {
    return this.readiness.isReady ? this.relations?.value : undefined;
  }

  /** Which database this is, and in which run of its server. */
  async database(): Promise<string> {
    await this.readiness.ready();
    const [row] = await this.run('database', statement('database'), undefined, SHORT_WITHIN_MS);
    return row![0]!;
  }

  private async readRelations(): Promise<ReadonlyMap<string, WatchedRelation>> {
    const rows = await this.run('watched', 'SELECT * FROM fraiseql_cache.watched_tables()');
    return new Map(
      rows.map(([schema, table, domain, tenantColumn, tagColumns, guarded]) => [
        `${quoteIdentifier(schema!)}.${quoteIdentifier(table!)}`,
        {
          domain: domain!,
          tenantColumn: tenantColumn!,
          tagColumns: JSON.parse(tagColumns!) as string[][],
          ...(guarded == null ? {} : { guarded: guarded as 'here' | 'elsewhere' }),
        },
      ]),
    );
  }

  private async tablesToWatch(): Promise<WatchRequest[]> {
    const query = (text: string, values?: unknown[]): Promise<TextRows> => this.connection.rows({ text, values });
    const found = [...(this.options.watch ?? [])] as WatchRequest[];
    for (const source of this.watchSources) found.push(...(await source(query)));
    return found;
  }

  async recover(): Promise<void> {
    this.readiness.forget();
    await this.readiness.ready();
  }

  async exchange({ since, keys, prove = false, withinMs }: ExchangeRequest): Promise<ExchangeAnswer | null> {
    const { isLocked } = await this.readiness.ready();
    const kind = prove ? 'prove' : 'exchange';
    const name = isLocked ? `${kind}_locked` : kind;
    const values = [since === null ? END_OF_TIME : snapshotText(since), keys];
    const answer = parseAnswer(await this.run(name, this.statementsNow[kind], values, withinMs));
    // Where it was not asked since when, or that is too long ago, nothing tells what changed.
    if (
      answer !== null &&
      (answer.rewatched || since === null || since.lo < answer.horizon || since.hi > answer.fence.hi)
    )
      this.relations = null;
    return answer;
  }

  async fill(fills: readonly Fill[]): Promise<ReadonlyMap<string, Proof>> {
    const { cacheId } = await this.readiness.ready();
    const fences = fills.map(({ fence }) => storable(fence));
    const stored = this.run(
      'fill',
      `SELECT * FROM fraiseql_cache.store_${cacheId}($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, ${this.maxTtl})`,
      [
        fills.map(({ key }) => key),
        fills.map(({ json }) => json),
        fills.map(({ types }) => types),
        fills.map(({ tags }) => arrayLiteral(tags)),
        fills.map(({ dependencies }) => specText(dependencies)),
        fences.map(({ lo }) => lo),
        fences.map(({ hi }) => hi),
        fences.map(({ open }) => `{${open.join(',')}}`),
        fences.map(({ incarnation }) => incarnation),
        fills.map(({ ttlMs }) => Math.ceil(ttlMs)),
        fills.map(({ staleMs = 0 }) => Math.ceil(staleMs)),
        fills.map(({ tenantId }) => tenantId),
        fills.map(({ view }) => view),
        fills.map(({ computeMs }) => computeMs),
      ],
      FILL_WITHIN_MS,
    );
    const rows = await stored.catch((error: Error) => {
      throw isRefusedData(error) ? new RefusedValueError(error.message, { cause: error }) : error;
    });
    return new Map(rows.map(([key, proof]) => [key!, parseProof(proof!)]));
  }

  async refence(rows: readonly StoredRow[], fence: Fence): Promise<void> {
    const { cacheId } = await this.readiness.ready();
    const { lo, hi, open } = storable(fence);
    const values = [rows.map(({ key }) => key), rows.map(({ proofText }) => proofText), lo, hi, open];
    const text = `SELECT fraiseql_cache.refence_${cacheId}($1, $2, $3, $4, $5)`;
    await this.run('refence', text, values, SHORT_WITHIN_MS);
  }

  async delete(keys: readonly string[]): Promise<number> {
    const { cacheId } = await this.readiness.ready();
    const text = `SELECT fraiseql_cache.delete_${cacheId}($1)`;
    const [row] = await this.run('delete', text, [[...keys].sort()], SHORT_WITHIN_MS);
    return Number(row![0]);
  }

  async deleteWithin(keys: readonly string[], within: Queryable): Promise<number | null> {
    // The rows stay: their locks would be held until the commit, and who stores would wait for them. What is touched is void.
    const touch = `SELECT pg_current_xact_id()::text::bigint AS xid, fraiseql_cache.touch(ARRAY(SELECT '!' || k FROM unnest($1::text[]) AS k))`;
    return openTransaction(await within.query(touch, [keys]));
  }

  async deleteMatching(prefix: string, like: string): Promise<number> {
    const { cacheId } = await this.readiness.ready();
    const [row] = await this.run('delete_like', `SELECT fraiseql_cache.delete_like_${cacheId}($1, $2)`, [prefix, like]);
    return Number(row![0]);
  }

  async tagsOf(dependencies: Dependencies): Promise<readonly string[]> {
    await this.readiness.ready();
    const spec = specText(dependencies);
    if (spec === null) return [];
    const text = 'SELECT array_to_json(fraiseql_cache.dependency_tags($1::jsonb))';
    const [row] = await this.run('tags', text, [spec], SHORT_WITHIN_MS);
    return JSON.parse(row![0]!) as string[];
  }

  async invalidate(dependencies: Dependencies, within?: Queryable): Promise<number | null> {
    const values = [specText(dependencies)];
    if (within !== undefined)
      return openTransaction(await within.query('SELECT fraiseql_cache.invalidate($1::jsonb) AS xid', values));
    await this.readiness.ready();
    await this.run('invalidate', 'SELECT fraiseql_cache.invalidate($1::jsonb)', values, SHORT_WITHIN_MS);
    return null;
  }

  async audit(): Promise<DomainReport> {
    await this.readiness.ready();
    // Tables may have been renamed, or given policies, of which no exchange tells.
    this.relations = null;
    const report = new Map<string, string | null>();
    const text = 'SELECT relation, domain, problem FROM fraiseql_cache.check_domains()';
    for (const [relation, domain, problem] of await this.run('audit', text, undefined, SHORT_WITHIN_MS)) {
      const found = problem === null ? null : `${relation}: ${problem}`;
      report.set(domain!, [report.get(domain!), found].filter((text) => text != null).join('; ') || null);
    }
    return report;
  }

  async purge(): Promise<PurgeResult> {
    const { cacheId } = await this.readiness.ready();
    let entries: number | null = null;
    // Between two batches the application may end; what is left is purged by another process, or after the next start.
    while (this.closing === null) {
      const deleted = await this.purgeBatch(cacheId);
      if (deleted === null) break;
      entries = (entries ?? 0) + deleted;
      if (deleted < PURGE_BATCH) break;
    }
    const evicted = await this.evict(cacheId);
    if (this.closing !== null) return { entries, logRows: null, ...evicted };
    await this.run('clear_leases', 'SELECT fraiseql_cache.clear_leases()');
    const [compacted] = await this.run('compact', 'SELECT fraiseql_cache.compact()');
    return { entries, logRows: compacted![0] === null ? null : Number(compacted![0]), ...evicted };
  }

  /**
   * Bring the table back within its limits, in batches as the purge. A row is a copy: that it is gone makes nothing stale,
   * and who holds another copy may go on serving it, so unlike a deletion this touches no tag.
   */
  private async evict(cacheId: number): Promise<Pick<PurgeResult, 'evicted'>> {
    const limit = (most = Infinity): number | null => (most === Infinity ? null : most);
    const [maxEntries, maxBytes] = [limit(this.options.maxTableEntries), limit(this.options.maxTableBytes)];
    if (maxEntries === null && maxBytes === null) return {};
    let evicted = 0;
    let left: readonly [turn: number | null, entries: number, bytes: number] = [null, 0, 0];
    while (this.closing === null) {
      const [batch] = await this.run(
        'evict',
        `${ALONE} THEN fraiseql_cache.evict_${cacheId}($2, $3, $4, $5, $6, $7) END`,
        [cacheId, maxEntries, maxBytes, PURGE_BATCH, ...left],
      );
      // Another process is at it.
      if (batch![0] === null) break;
      const [turn, deleted, entries, bytes] = JSON.parse(batch![0]!) as [number, number, number, number];
      evicted += deleted;
      left = [turn, entries, bytes];
      // Within its limits again; or else the rest is held by somebody who is storing it anew.
      if ((entries <= 0 && bytes <= 0) || deleted === 0) break;
    }
    return { evicted };
  }

  /** One batch, under a lock that its own transaction holds, so that it works behind a PgBouncer too. */
  private async purgeBatch(cacheId: number): Promise<number | null> {
    const [row] = await this.run('purge', `${ALONE} THEN fraiseql_cache.purge_${cacheId}($2) END`, [
      cacheId,
      PURGE_BATCH,
    ]);
    return row![0] === null ? null : Number(row![0]);
  }

  /** `VACUUM (ANALYZE)` the cache table and the log. Takes a while on a large table, blocks nobody. */
  async vacuum(): Promise<void> {
    await this.readiness.ready();
    await this.connection.unhurried(`VACUUM (ANALYZE) ${this.table.quoted}, fraiseql_cache.log`);
  }

  /** Count entries and sizes (in bytes), with one statement, which takes long on a large table. */
  async stats(): Promise<StoreStats> {
    const { isLocked } = await this.readiness.ready();
    const [row] = await this.run(isLocked ? 'stats_locked' : 'stats', this.statementsNow.stats);
    const cascadeMs = row!.pop();
    const [totalEntries, expiredEntries, entryBytes, tableSizeBytes, logSizeBytes] = row!.map(Number) as [
      number,
      number,
      number,
      number,
      number,
    ];
    const counts = { totalEntries, expiredEntries, entryBytes, tableSizeBytes, logSizeBytes };
    return cascadeMs == null ? counts : { ...counts, cascadeMs: Number(cascadeMs) };
  }

  /** Where policies hold this role, rows are read through the functions of `lock_cache`: same statements, other source. */
  private get statementsNow(): Statements {
    const installation = this.readiness.installation;
    if (installation?.isLocked !== true) return this.statements;
    const { cacheId } = installation;
    if (this.locked?.cacheId !== cacheId) {
      const rows = `fraiseql_cache.rows_${cacheId}($2)`;
      const outlines = `fraiseql_cache.outlines_${cacheId}()`;
      this.locked = { cacheId, statements: statementsOn(this.table, rows, outlines) };
    }
    return this.locked.statements;
  }

  /** The cascade rules of the database. */
  get cascades(): CascadeStore {
    return (this.cascadeStore ??= new CascadeStore(
      async () => {
        const { cacheId, isLocked } = await this.readiness.ready();
        return isLocked
          ? { name: 'cascade_follow_locked', from: `fraiseql_cache.outlines_${cacheId}(t.tags) e` }
          : { name: 'cascade_follow', from: `(SELECT * FROM ${this.table.quoted} WHERE tags && t.tags) e` };
      },
      async (name, text, values) => {
        await this.readiness.ready();
        return this.run(name, text, values);
      },
    ));
  }

  /** A cache in another table of the same database, on the same pool. */
  sibling(options: Pick<PostgresCacheOptions, 'tableName' | 'maxTtl' | 'partitions'> & TableLimits): PostgresCache {
    return new PostgresCache({ ...this.options, watch: [], ...options, connection: this.connection });
  }

  /**
   * Close the pool if it is the cache's own. Statements under way are waited for, later ones refused.
   * @param withinMs Then connections that do not answer are cut. Default 5,000.
   */
  async close(withinMs?: number): Promise<void> {
    this.release();
    this.readiness.close();
    await (this.closing ??= this.connection.close(withinMs));
  }

  private async run(name: string, text: string, values?: unknown[], withinMs = Infinity): Promise<TextRows> {
    const query: Statement = { text, values };
    if (withinMs < Infinity) query.query_timeout = withinMs;
    if (this.options.prepare !== false)
      query.name = `result_cache_${name}_${this.readiness.installation?.cacheId ?? 0}`;
    try {
      const rows = await this.connection.rows(query);
      this.readiness.succeeded();
      return rows;
    } catch (error) {
      if (isUnreachable(error)) throw this.readiness.failed(error as Error);
      // Somebody dropped the table or the schema: make everything anew at the next use.
      if (isMissingObject(error)) this.readiness.forget();
      throw error;
    }
  }
}

interface Statements {
  exchange: string;
  prove: string;
  stats: string;
}

/** All entries of a table, as their number and size are counted. */
function entriesOf(table: string): string {
  const bytes = 'value_bytes::bigint + pg_column_size(cache_key) + pg_column_size(tags) + pg_column_size(proof)';
  return `(SELECT expires_at, stale_until, ${bytes} AS entry_bytes FROM ${table}) AS entry`;
}

/** The statements of a cache, which read its rows by key from `rows` and count them from `all`. */
function statementsOn({ quoted }: TableName, rows: string, all: string): Statements {
  const most = String(MOST_TOUCHES + 1);
  return {
    exchange: statement('exchange', { table: rows, most }),
    prove: statement('prove', { table: rows, most }),
    stats: statement('stats', { table: all, literal: quoteLiteral(quoted) }),
  };
}

/** A `pg` client answers `{ rows }`, TypeORM the rows themselves. */
function openTransaction(result: unknown): number | null {
  const rows = (Array.isArray(result) ? result : (result as { rows?: unknown[] } | undefined)?.rows) as
    { xid?: string | null }[] | undefined;
  const xid = rows?.[0]?.xid;
  return xid == null ? null : Number(xid);
}
