import { type Dependencies, type RowValues } from './dependencies.js';
import { resolveTtl, ttlToMs, type NamedTtl, type NamedTtls, type Ttl } from './duration.js';
import { CacheConfigurationError, shown, UnstorableValueError } from './errors.js';
import { freshnessToMs, type Freshness } from './freshness.js';
import { leaseTimes, type LeaseOptions, type LeaseTimes } from './lease-options.js';
import {
  checkRenewal,
  lifetimeMs,
  renewalOf,
  renewalPart,
  RENEWAL_KEYS,
  servesOrRefreshes,
  staleMs,
  type Renewal,
  type RenewalOptions,
} from './renewal-options.js';
import { ClassRegistry, type Class } from './values/index.js';

/** What a cached value depends on. At least one of the first three, or `untracked: true`. */
export interface DependencyOptions {
  /**
   * Kinds of data it was computed from: any write to them makes it void. `'infer'`: those of the tables that the statements
   * read which its computation sends through `pg`; where that cannot be told for sure, it is not cached, and a warning says why.
   */
  domains?: readonly string[] | 'infer';
  /** Names of your own, for data that is not in the database; `invalidateTags` makes it void. */
  tags?: readonly string[];
  /**
   * Rows it was computed from, by domain and column values: `[['user', { id: 42 }]]`. Only a write to such rows makes
   * it void. Declare it only where the computation reads no other row of that domain. What cascades to the domain by rule
   * makes it void as well, unless a third element `true` says that only the rows' own columns are in the value.
   */
  rows?: readonly (readonly [domain: string, values: RowValues, exact?: true])[];
  /** Nothing makes it void but its TTL: it can be stale for as long as that. */
  untracked?: boolean;
  /**
   * What it depends on, or more of it, is found while it is computed, and told by `ResultCache.dependOn`. A value for which
   * nothing was found and that names nothing here is not cached.
   */
  discovers?: boolean;
}

/** How one value, or all values of one method, are cached. */
export interface EntryOptions extends DependencyOptions, RenewalOptions {
  /** Seconds, text such as `'5m'`, or `{ named: 'user_profile' }`. Default: the cache's `defaultTtl`. `0`: not stored. */
  ttl?: Ttl | NamedTtl;
  /** How old it may be when it is served from memory. Default: the cache's `freshness`, which is `'strict'` by default. */
  freshness?: Freshness;
  /**
   * Have one process compute a missing value while the others wait for it. Default: the cache's `lease`, which is `false`
   * by default.
   */
  lease?: boolean | LeaseOptions;
  /** What is read, for statistics and logs: a view's or method's name. */
  view?: string;
  /** Whose value it is, for statistics; isolation is the key's business. */
  tenantId?: string;
  /** Classes whose instances occur in the value, so that a process which never computed it can revive them. */
  classes?: readonly Class[];
}

/** The options of an entry; `set` has one more. */
export const ENTRY_KEYS: readonly string[] = [
  'domains',
  'tags',
  'rows',
  'untracked',
  'discovers',
  'ttl',
  'freshness',
  'lease',
  ...RENEWAL_KEYS,
  'view',
  'tenantId',
  'classes',
];

/** Options checked once and turned into what the engine needs. Made per decorated method, or per call. */
export class Policy {
  readonly ttlMs: number;
  readonly dependencies: Dependencies;
  /** Every domain whose triggers must be in place. */
  readonly trackedDomains: readonly string[];
  readonly untracked: boolean;
  /** Its dependencies are known in full only when a computation has ended. */
  readonly discovers: boolean;
  /** They are those of the statements that run meanwhile. */
  readonly infers: boolean;
  /** 0: strict. */
  readonly maxStalenessMs: number;
  /** How processes take turns in computing it; `null`: they do not. */
  readonly lease: LeaseTimes | null;
  /** What is served while it is renewed, or in place of it; `null`: nothing, and nobody waits for less than the whole. */
  readonly renewal: Renewal | null;
  /** How much shorter some values live. */
  private readonly lifetime: Renewal | null;
  readonly registry: ClassRegistry;
  private written: readonly string[] | null;

  /** @throws CacheConfigurationError */
  constructor(
    options: EntryOptions,
    defaults: {
      ttl: Ttl;
      maxTtlMs: number;
      freshness?: Freshness;
      lease?: boolean | LeaseOptions;
      /** The cache's, `null` for none; `undefined` where the cache is not known yet. */
      renewal?: RenewalOptions | null;
      where?: string;
      ttls?: NamedTtls;
    },
    readonly view = nameOr(options.view, 'value'),
    registry = new ClassRegistry(classesOf(options)),
  ) {
    const where = defaults.where ?? view;
    nameOr(options.tenantId, '', `${where}: tenantId`);
    for (const name of ['untracked', 'discovers'] as const)
      if (options[name] !== undefined && typeof options[name] !== 'boolean')
        throw new CacheConfigurationError(`${where}: ${name}: ${shown(options[name])} is neither true nor false`);
    this.ttlMs = ttlToMs(resolveTtl(options.ttl ?? defaults.ttl, defaults.ttls, `${where}: ttl`), `${where}: ttl`);
    if (this.ttlMs > defaults.maxTtlMs)
      throw new CacheConfigurationError(
        `${where}: ttl ${shown(options.ttl ?? defaults.ttl)} is longer than maxTtl (${defaults.maxTtlMs / 1000} s); shorten it or raise maxTtl`,
      );
    this.infers = options.domains === 'infer';
    this.dependencies = {
      domains: options.domains === 'infer' ? [] : names(options.domains, where, 'domains'),
      free: names(options.tags, where, 'tags'),
      rows: rows(options.rows, where),
    };
    const { domains, rows: named } = this.dependencies;
    this.trackedDomains = [...domains, ...named.map(([domain]) => domain)];
    this.untracked = options.untracked ?? false;
    this.discovers = this.infers || (options.discovers ?? false);
    this.maxStalenessMs = freshnessToMs(options.freshness ?? defaults.freshness ?? 'strict', where);
    this.lease = leaseTimes(options.lease ?? defaults.lease ?? false, where);
    const own = renewalPart(options);
    this.lifetime = own === null && defaults.renewal == null ? null : renewalOf({ ...defaults.renewal, ...own }, where);
    this.renewal = this.lifetime !== null && servesOrRefreshes(this.lifetime) ? this.lifetime : null;
    if (this.lifetime !== null && defaults.renewal !== undefined)
      checkRenewal(this.lifetime, own ?? {}, { ttlMs: this.ttlMs, maxTtlMs: defaults.maxTtlMs, where });
    this.registry = registry;
    this.written = this.namesNothing && !this.discovers ? [] : null;
  }

  /** How long this value lives, in milliseconds. */
  lifetimeOf(value: unknown, random: () => number): number {
    return this.lifetime === null ? this.ttlMs : lifetimeMs(this.lifetime, this.ttlMs, value, random);
  }

  /** How much longer it is kept, in milliseconds. */
  staleMs(lifetime: number): number {
    return this.renewal === null ? 0 : staleMs(this.renewal, lifetime);
  }

  /** Nothing would make its value void but its TTL. */
  get namesNothing(): boolean {
    const { domains, free, rows: named } = this.dependencies;
    return domains.length === 0 && free.length === 0 && named.length === 0;
  }

  /** The dependencies as the database writes them; `null` until a first store has told. */
  get tags(): readonly string[] | null {
    return this.written;
  }

  /** Learn them. Column tags are never learnt: how a value is written follows the column's type, which may change. */
  learn(tags: readonly string[]): void {
    if (this.dependencies.rows.length === 0 && !this.discovers) this.written ??= tags;
  }
}

/** @throws CacheConfigurationError for what is no text */
function nameOr(given: unknown, otherwise: string, where = 'view'): string {
  if (given === undefined || typeof given === 'string') return given ?? otherwise;
  throw new CacheConfigurationError(`${where}: ${shown(given)} is no text; leave it out, or write ${where}: 'users'`);
}

function classesOf({ classes = [] }: EntryOptions): readonly Class[] {
  if (Array.isArray(classes)) return classes;
  throw new CacheConfigurationError(`classes: ${shown(classes)} is no list of classes; write classes: [User]`);
}

function names(given: readonly string[] | undefined, where: string, option: string): readonly string[] {
  if (given === undefined) return [];
  if (!Array.isArray(given))
    throw new CacheConfigurationError(
      `${where}: ${option} must be a list: ${option}: ['user']${option === 'domains' ? ", or 'infer'" : ''}`,
    );
  if (option === 'domains' && given.includes('infer'))
    throw new CacheConfigurationError(
      `${where}: domains holds 'infer'; write domains: 'infer' to have all of them found, or list them all: domains: ['user']`,
    );
  for (const name of given)
    if (typeof name !== 'string' || name === '' || (option === 'domains' && UNSTORABLE.test(name)))
      throw new CacheConfigurationError(
        `${where}: ${option} holds ${shown(name)}; a name is a non-empty text: ${option}: ['user']`,
      );
  return [...new Set<string>(given)];
}

/** What no PostgreSQL text can hold; in tags and values, which may be made of a user's input, the store replaces it. */
const UNSTORABLE = /\0|\p{Surrogate}/u;

function rows(given: EntryOptions['rows'], where: string): Dependencies['rows'] {
  if (given !== undefined && !Array.isArray(given))
    throw new CacheConfigurationError(`${where}: rows must be a list: rows: [['user', { id: 42 }]]`);
  for (const pair of given ?? []) {
    const [domain, values, exact] = Array.isArray(pair) ? (pair as readonly unknown[]) : [];
    const columns = typeof values === 'object' && values !== null ? Object.values(values) : [];
    if (
      typeof domain !== 'string' ||
      domain === '' ||
      UNSTORABLE.test(domain) ||
      columns.length === 0 ||
      (exact !== undefined && exact !== true) ||
      !columns.every((value) => ['string', 'number', 'bigint'].includes(typeof value))
    )
      throw new CacheConfigurationError(
        `${where}: rows must list a domain with column values: rows: [['user', { id: 42 }]]`,
      );
  }
  return given ?? [];
}

/** What to say of a value with more dependencies than may be; `null` where it has not. */
export function tooManyTags(
  written: number,
  { domains, free, rows }: Dependencies,
  most: number,
): UnstorableValueError | null {
  const count = written + domains.length + free.length + rows.length;
  if (count <= most) return null;
  return new UnstorableValueError(
    `it depends on ${count} domains, tags and rows, over ${most}: name whole domains in place of rows, or raise maxTags`,
    'too-many-tags',
  );
}

/** Whether these options say at all when a value becomes void. */
export function saysWhenVoid({ domains, tags, rows: named, untracked, discovers }: DependencyOptions): boolean {
  return untracked === true || discovers === true || domains !== undefined || tags !== undefined || named !== undefined;
}
