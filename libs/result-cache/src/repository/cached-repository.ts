import { type FactoryProvider, type InjectionToken } from '@nestjs/common';
import { type Pool, type PoolClient } from 'pg';
import { Computation } from '../core/computation.js';
import { type Ttl } from '../core/duration.js';
import { CacheConfigurationError } from '../core/errors.js';
import { type OrderTerm } from '../core/keys.js';
import { type Policy } from '../core/policy.js';
import { type Queryable } from '../core/store.js';
import { transactions } from '../core/transactions.js';
import { copyValue } from '../core/values/index.js';
import { CacheService, type CallOptions } from '../module/cache.service.js';
import { checkKeys } from '../core/option-keys.js';
import { quoteIdentifier } from '../postgres/sql.js';
import { domainsOfFunction, queryNameOf } from './query-name.js';
import { quoteRelation, selectFrom, type Filters } from './select.js';

/** A TypeORM `DataSource`, by shape. */
interface DataSourceShape {
  query(text: string, values?: unknown[]): Promise<unknown>;
  transaction<T>(work: (manager: Queryable) => Promise<T>): Promise<T>;
}

/** Where a repository reads and writes: a `pg` pool or a TypeORM `DataSource`, on the cache's own database. */
export type RepositorySource = Pick<Pool, 'connect' | 'query'> | DataSourceShape;

/** What is the same for all reads of a {@link CachedRepository}. */
export interface CachedRepositoryOptions {
  /** Tells the keys of several repositories on different sources apart. Default: none, for the only one. */
  name?: string;
  /** The column that says whose row it is, where a view has it. Default `tenant_id`; `false` for none. */
  tenantColumn?: string | false;
}

/** Options of {@link CachedRepository.find}. */
export interface FindOptions extends CallOptions {
  /** Columns and directions: `[['created_at', 'DESC']]`. */
  orderBy?: readonly OrderTerm[];
  limit?: number;
  offset?: number;
  /** Seconds or `'5m'`. Default: the cache's `defaultTtl`. */
  cacheTtl?: Ttl;
  /** Read the database, and store nothing. Default `false`. */
  skipCache?: boolean;
}

type Row = Record<string, unknown>;

export const SOURCE_KEYS = ['name', 'tenantColumn'];
export const FIND_KEYS = ['orderBy', 'limit', 'offset', 'cacheTtl', 'skipCache', 'tenant'];
const owners = new WeakMap<CacheService, Map<string, object>>();

/**
 * Cached reads of views and tables, without entities. What a result depends on is found by `domains: 'infer'`: every table
 * behind the view. Within a tenant the rows of others are left out by SQL as well, where the view has the tenant's column.
 *
 * @example
 * const users = new CachedRepository(pool, cacheService);
 * await users.find('v_user', { status: 'active' }, { orderBy: [['created_at', 'DESC']], limit: 10 });
 * await users.executeFunction('create_user', { name: 'Alice', email: 'alice@example.com' });
 */
export class CachedRepository {
  private readonly policies = new Map<string, Policy>();

  /** @throws CacheConfigurationError for a wrong option, or a second source under the same name. */
  constructor(
    private readonly source: RepositorySource,
    private readonly cache: CacheService,
    private readonly options: CachedRepositoryOptions = {},
  ) {
    if (typeof source?.query !== 'function' || !('connect' in source || 'transaction' in source))
      throw new CacheConfigurationError(
        'CachedRepository: it reads through a pg pool or a TypeORM DataSource; write new CachedRepository(pool, cacheService)',
      );
    checkKeys(options, SOURCE_KEYS, 'CachedRepository');
    const names = owners.get(cache) ?? new Map<string, object>();
    owners.set(cache, names);
    const owner = names.get(options.name ?? '');
    // On another source the same view may be another one.
    if (owner !== undefined && owner !== source)
      throw new CacheConfigurationError(
        'CachedRepository: another one reads from another source under the same name, and each would find the other’s results; give one of them a name: { name: "reports" }',
      );
    names.set(options.name ?? '', source);
  }

  /** A Nest provider of `CachedRepository`. `source`: the token of a pool or DataSource. */
  static provider(source: InjectionToken, options?: CachedRepositoryOptions): FactoryProvider<CachedRepository> {
    return {
      provide: CachedRepository,
      useFactory: (found: RepositorySource, cache: CacheService) => new CachedRepository(found, cache, options),
      inject: [source, CacheService],
    };
  }

  /**
   * The rows of a view or table that match.
   * @throws CacheConfigurationError for an unknown operator or option; MissingTenantError; the driver's error.
   */
  async find<T extends object = Row>(view: string, given: Filters = {}, options: FindOptions = {}): Promise<T[]> {
    checkKeys(options, FIND_KEYS, `find(${JSON.stringify(view)})`);
    const { limit, offset, cacheTtl, skipCache = false, tenant } = options;
    // The key and the statement are made at different times, and the caller's may change in between.
    const [filters, orderBy] = [copyValue(given), copyValue(options.orderBy)];
    // Before anything runs, so that a mistake shows on a hit as on a miss.
    selectFrom(view, { filters, orderBy, limit, offset });
    const tenantId = await this.cache.tenantId(tenant);
    const { name, isAmbiguous } = queryNameOf(view);
    const policy = this.policy(name, cacheTtl);
    const compute = (): Promise<T[]> => this.select<T>(view, { filters, orderBy, limit, offset }, tenantId);
    if (skipCache) return this.cache.engine.computeUncached(compute, policy);
    const key = this.cache.keys.buildKey({
      queryName: name,
      tenantId,
      filters: {
        ...filters,
        // No filter may have such a name.
        ...(isAmbiguous ? { __from: view } : {}),
        ...(this.options.name === undefined ? {} : { __of: this.options.name }),
      },
      orderBy,
      limit,
      offset,
    });
    return this.cache.engine.readThrough(key, compute, policy, tenantId);
  }

  /** The first row that matches, or `null`. */
  async findOne<T extends object = Row>(
    view: string,
    filters: Filters = {},
    options: Omit<FindOptions, 'limit'> = {},
  ): Promise<T | null> {
    return (await this.find<T>(view, filters, { ...options, limit: 1 }))[0] ?? null;
  }

  /**
   * Call a function with named arguments, and return its rows. What it writes makes void what depends on it, by the tables'
   * triggers; the domains that its name suggests (`create_user`: `user` and `users`) are invalidated too. All in one
   * transaction: the one that is open around the call, or `within`, or one of its own.
   */
  async executeFunction<T extends object = Row>(
    name: string,
    args: Readonly<Record<string, unknown>> = {},
    { within }: { within?: Queryable } = {},
  ): Promise<T[]> {
    const named = Object.keys(args).map((argument, index) => `${quoteIdentifier(argument)} => $${index + 1}`);
    const text = `SELECT * FROM ${quoteRelation(name, 'executeFunction')}(${named.join(', ')})`;
    const call = async (transaction: Queryable): Promise<T[]> => {
      const rows = rowsOf<T>(await transaction.query(text, Object.values(args)));
      await this.cache.engine.invalidate({ domains: domainsOfFunction(name) }, transaction);
      return rows;
    };
    const open = within ?? transactions.open()?.queryable;
    return open === undefined ? this.inTransaction(call) : call(open);
  }

  private async select<T extends object>(
    view: string,
    selection: { filters: Filters } & Pick<FindOptions, 'orderBy' | 'limit' | 'offset'>,
    tenantId: string | undefined,
  ): Promise<T[]> {
    const { tenantColumn = 'tenant_id' } = this.options;
    const isTenants = tenantId !== undefined && tenantColumn !== false && (await this.hasColumn(view, tenantColumn));
    const statement = selectFrom(view, selection);
    if (isTenants) {
      // Beside the filters, not among them: a filter on the same column must not take its place.
      statement.values.push(tenantId);
      const own = `${quoteIdentifier(tenantColumn)} = $${statement.values.length}`;
      const from = `SELECT * FROM ${quoteRelation(view, 'find')}`;
      statement.text = `SELECT * FROM (${from} WHERE ${own}) AS own${statement.text.slice(from.length)}`;
    }
    return rowsOf<T>(await this.source.query(statement.text, statement.values));
  }

  /** Asked anew each time: a view may get the column while the application runs. */
  private async hasColumn(view: string, column: string): Promise<boolean> {
    const asked = Computation.unobserved(() =>
      this.source.query(
        'SELECT FROM pg_attribute a WHERE a.attrelid = $1::regclass AND a.attname = $2 AND NOT a.attisdropped',
        [quoteRelation(view, 'find'), column],
      ),
    );
    return rowsOf(await asked).length > 0;
  }

  private async inTransaction<T>(work: (transaction: Queryable) => Promise<T>): Promise<T> {
    const { source } = this;
    if ('transaction' in source) return source.transaction(work);
    const client: PoolClient = await source.connect();
    let broken: Error | undefined;
    try {
      await client.query('BEGIN');
      const result = await work(client);
      await client.query('COMMIT');
      return result;
    } catch (error) {
      await client.query('ROLLBACK').catch((why: Error) => (broken = why));
      throw error;
    } finally {
      client.release(broken);
    }
  }

  private policy(view: string, ttl: Ttl | undefined): Policy {
    const key = `${view} ${ttl ?? ''}`;
    let policy = this.policies.get(key);
    if (policy === undefined) {
      policy = this.cache.engine.policy({ domains: 'infer', ttl, view }, undefined, `find(${JSON.stringify(view)})`);
      this.policies.set(key, policy);
    }
    return policy;
  }
}

/** A `pg` pool answers `{ rows }`, TypeORM the rows themselves. */
function rowsOf<T extends object = Row>(result: unknown): T[] {
  return (Array.isArray(result) ? result : (result as { rows: T[] }).rows) as T[];
}
