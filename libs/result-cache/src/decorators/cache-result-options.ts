import { type RowValues } from '../core/dependencies.js';
import { CacheConfigurationError } from '../core/errors.js';
import { Policy, type EntryOptions } from '../core/policy.js';
import { renewalPart, RENEWAL_KEYS, type RenewalOptions } from '../core/renewal-options.js';
import { type TenantChoice } from '../module/cache.service.js';

/** A list, or a function of the method's arguments that returns one. */
type Listed<T> = readonly T[] | ((...args: any[]) => readonly T[]);

/** Options of `@CacheResult`. Functions are called with the method's arguments, and with its object as `this`. */
export interface CacheResultOptions
  extends RenewalOptions, Pick<EntryOptions, 'ttl' | 'domains' | 'classes' | 'untracked' | 'freshness' | 'lease'> {
  /** Tags of your own, for data that is not in the database; `invalidateTags` makes the value void. */
  tags?: Listed<string>;
  /** Only these rows of a domain: `rows: (id) => [['user', { id }]]`. Declare it only where no other row of it is read. */
  rows?: Listed<readonly [domain: string, values: RowValues]>;
  /** Name in keys and statistics. Default `Class.method`. No two methods may have the same. */
  keyPrefix?: string;
  /** What distinguishes two calls. Default: the arguments, without `@Context()`, `@Res()` and the like. */
  key?: (...args: any[]) => unknown;
  /** Hidden inputs that the arguments do not show: the user's role, the language. Makes them part of the key. */
  varyBy?: (...args: any[]) => Readonly<Record<string, unknown>>;
  /**
   * `'shared'` where the value is the same for all tenants, or a function that names the tenant. Default `'current'`:
   * each tenant has its own.
   */
  tenant?: Exclude<TenantChoice, object> | ((...args: any[]) => string);
  /** Cache this call at all? It is computed if not, and nothing is stored. */
  when?: (...args: any[]) => boolean | Promise<boolean>;
  /** A cache of `CacheModule.forFeature`. Default: the module's. */
  cache?: string;
}

type Check = (value: unknown) => boolean;
const isFunction: Check = (value) => typeof value === 'function';
const isName: Check = (value) => typeof value === 'string' && value !== '';
const isListed: Check = (value) => isFunction(value) || Array.isArray(value);
/** {@link Policy} looks at these. */
const elsewhere: Check = () => true;

const KNOWN: Record<
  Exclude<keyof CacheResultOptions, keyof RenewalOptions>,
  readonly [check: Check, remedy: string]
> = {
  ttl: [elsewhere, ''],
  domains: [elsewhere, ''],
  tags: [isListed, "write a list or a function that returns one: tags: ['price-list']"],
  rows: [isListed, "write a list or a function that returns one: rows: (id) => [['user', { id }]]"],
  freshness: [elsewhere, ''],
  lease: [elsewhere, ''],
  untracked: [(value) => typeof value === 'boolean', 'write true or false'],
  classes: [Array.isArray, 'write a list of classes: classes: [User]'],
  keyPrefix: [isName, "write a non-empty text: keyPrefix: 'top-products'"],
  key: [isFunction, 'write a function of the arguments: key: (user) => user.id'],
  varyBy: [isFunction, 'write a function that returns what results vary by: varyBy: () => ({ locale })'],
  tenant: [
    (value) => value === 'current' || value === 'shared' || isFunction(value),
    "write 'current', 'shared' or a function of the arguments: tenant: (user) => user.tenantId",
  ],
  when: [isFunction, 'write a function of the arguments: when: (query) => query.page === 1'],
  cache: [isName, "write the name of a CacheModule.forFeature: cache: 'reports'"],
};

/** The names of all options. */
export const CACHE_RESULT_KEYS: readonly string[] = [...Object.keys(KNOWN), ...RENEWAL_KEYS];

/**
 * Everything that can be known to be wrong when the class is defined.
 * @throws CacheConfigurationError with what to write instead
 */
export function checkCacheResultOptions(options: CacheResultOptions, where: string): void {
  checkGivenOptions(options, where);
  // A list that is empty in the source says no more than none; one that a function returns may well be.
  const { domains, tags, rows, untracked } = options;
  if (untracked !== true && ![domains, tags, rows].some((given) => isFunction(given) || (given?.length ?? 0) > 0))
    throw new CacheConfigurationError(
      `${where} does not say what its value depends on; write domains: ['user'] (the kinds of data it reads), tags: [...], rows: ..., or untracked: true to accept staleness up to the TTL`,
    );
}

/** The same for options that others will be added to. */
export function checkGivenOptions(options: CacheResultOptions, where: string): void {
  if (typeof options !== 'object' || options === null)
    throw new CacheConfigurationError(
      `${where} needs options; write ${where.split(' ')[0]}({ domains: ['user'], ttl: '5m' })`,
    );
  for (const [name, value] of Object.entries(options)) {
    if (!CACHE_RESULT_KEYS.includes(name))
      throw new CacheConfigurationError(
        `${where}: there is no option '${name}'; known are ${CACHE_RESULT_KEYS.join(', ')}`,
      );
    // Those of renewal have been looked at when this is over, like others.
    const [check, remedy] = KNOWN[name as keyof typeof KNOWN] ?? [elsewhere, ''];
    if (value !== undefined && !check(value))
      throw new CacheConfigurationError(`${where}: ${name} is wrong; ${remedy}`);
  }
  // How long an entry may live is the cache's to say, and it is not known yet.
  new Policy(fixedPart(options), { ttl: 0, maxTtlMs: Infinity, where });
}

/** What of the options is the same for every call. */
export function fixedPart(options: CacheResultOptions): EntryOptions {
  const { ttl, domains, classes, untracked, freshness, lease, tags, rows } = options;
  return {
    ...{ ttl, domains, classes, untracked, freshness, lease, tags: unlessFunction(tags), rows: unlessFunction(rows) },
    ...renewalPart(options),
  };
}

function unlessFunction<T>(value: Listed<T> | undefined): readonly T[] | undefined {
  return typeof value === 'function' ? [] : value;
}
