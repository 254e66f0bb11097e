import { canonicalText, UnkeyableValueError } from './canonical.js';
import { DEFAULT_PREFIX } from './defaults.js';
import { CacheConfigurationError, shown } from './errors.js';
import { digest, filterEntries, nameSegment, valueSegment } from './key-segment.js';
import { splitAtStars } from './pattern.js';

/** No key is longer, in bytes as in characters; a PostgreSQL btree takes entries of about 2,700. */
export const MAX_KEY_LENGTH = 1_000;

const MOST_METHOD_HEADS = 10_000;

/** Of the many methods that take none. */
const NO_ARGUMENTS = digest('arguments', '');

/** The segment that marks the key of a method; a view of this name is quoted. */
const METHOD_MARK = 'db_query';

/** Options of a {@link CacheKeyBuilder}. */
export interface CacheKeyBuilderOptions {
  /** First segment of every key. Default `fraiseql`. Two prefixes never share a key. */
  readonly prefix?: string;
}

/** The segment that marks a key of the user's own; a view of this name is quoted too. */
const VALUE_MARK = 'kv';

/** What is escaped in a user's own key: pattern stars, our own marks, and all that is not printable ASCII. */
const UNSAFE_IN_VALUE_KEY = /[*~%\\]|[^ -~]/g;

/** One `[column, direction]` of an ordering. */
export type OrderTerm = readonly [column: string, direction: 'ASC' | 'DESC'];

/** What a query depends on. Every part that changes the result belongs in here. */
export interface QueryKeyParts {
  /** The view, table or query, `users`. */
  readonly queryName: string;
  /** Absent: an entry shared by all tenants. */
  readonly tenantId?: string | undefined;
  /** Column (or `column__operator`) and value. Lists under a name ending in `__in` are sorted. */
  readonly filters?: Readonly<Record<string, unknown>> | undefined;
  /** Order matters. An empty list is the same as none. */
  readonly orderBy?: readonly OrderTerm[] | undefined;
  readonly limit?: number | undefined;
  readonly offset?: number | undefined;
}

/** What a method call depends on. */
export interface MethodKeyParts {
  /** `Class.method`, or a key prefix chosen by the user. */
  readonly name: string;
  /** Absent: an entry shared by all tenants. */
  readonly tenantId?: string | undefined;
  /** The arguments. Trailing `undefined` ones are the same as missing ones, as they are for default parameters. */
  readonly args: readonly unknown[];
  /** Hidden inputs (role, locale, user). Empty is the same as none. */
  readonly varyBy?: Readonly<Record<string, unknown>> | undefined;
}

/** The same where the user says what distinguishes two calls, in place of the arguments. */
export interface KeyedMethodKeyParts extends Omit<MethodKeyParts, 'args'> {
  readonly key: unknown;
}

/** Whose keys a mutation pattern covers. With neither: the keys without a tenant. */
export interface MutationPatternScope {
  readonly tenantId?: string | undefined;
  /** The keys of every tenant (not those without one). */
  readonly allTenants?: boolean | undefined;
}

/**
 * Builds cache keys that can be read and that never mean two things.
 *
 * Why two different inputs never share a key: a key can be read back, left to right, in one way only.
 * 1. A segment holds no raw `:`, so it ends at the next one; `%` escapes every special or non-ASCII code unit one-to-one.
 *    (Only an ISO date has raw colons, and only after a head `2025-01-01T00` that no text has: rule 4 quotes it.)
 * 2. The segment after the prefix is the tenant if it starts with `@` or holds a digit or hyphen, else, or with `/`, the
 *    view of a tenant-less key. Tenants that look like a view get the `@` (`@acme`), views like a tenant the `/` (`/top10`).
 * 3. Filters are pairs of name and value, sorted by name, until a segment `order`, `limit` or `offset` stands where a
 *    name would. A name that equals one of these, is empty or starts with `'` has a `'` in front. Sections have one order.
 * 4. A value shows its type: a text that would read as a number, bigint, date, boolean or null has a `'` in front
 *    (`'1`, against the number `1`); a list has commas, one of a single element ends in one; raw commas occur nowhere else.
 * 5. `~` is followed by 132 bits of SHA-256 and escaped in all texts. Digests of segments, data and tails differ in domain.
 * 6. `all` alone stands for "no filters, order, limit, offset"; `db_query` in the view's place is a method and `kv` a
 *    user's own key, as views of these names have a `'` in front.
 *
 * A key is printable ASCII, at most 1,000 bytes, holds no `*` or `\`, and no tenant's key starts with another's prefix.
 */
export class CacheKeyBuilder {
  private readonly root: string;
  /** Everything of a method's keys but the hash, by method and tenant: each is checked and escaped once. */
  private readonly methodHeads = new Map<string, Map<string | undefined, string>>();
  private methodHeadCount = 0;

  /** @example new CacheKeyBuilder({ prefix: 'shop' }) */
  constructor({ prefix = DEFAULT_PREFIX }: CacheKeyBuilderOptions = {}) {
    this.root = requiredName(prefix, 'CacheKeyBuilder: `prefix`');
  }

  /**
   * The key of a query's result. An undefined `limit`, `offset`, `orderBy`, `filters` or `tenantId` is the same as an
   * absent one; an undefined *filter* is not, since not every repository ignores it and a wrong guess would be wrong data.
   *
   * @throws CacheConfigurationError when a filter holds a function, a cycle or an object without data of its own.
   * @example
   * keys.buildKey({ queryName: 'users', tenantId: 't1', filters: { status__in: ['b', 'a'] }, limit: 10 });
   * // fraiseql:t1:users:status__in:a,b:limit:10
   */
  buildKey({ queryName, tenantId, filters, orderBy, limit, offset }: QueryKeyParts): string {
    let tail = '';
    if (filters !== undefined) {
      for (const [name, value] of filterEntries(filters)) {
        tail += `:${nameSegment(name)}:${filterSegment(name, value)}`;
      }
    }
    if (orderBy !== undefined) tail += orderTail(orderBy);
    if (limit !== undefined) tail += `:limit:${filterSegment('limit', limit)}`;
    if (offset !== undefined) tail += `:offset:${filterSegment('offset', offset)}`;
    const head = this.head(tenantId, viewSegment(queryName));
    // Never bare, so that the pattern `fraiseql:users:*` covers the unfiltered list too.
    if (tail === '') return `${head}:all`;
    return head.length + tail.length <= MAX_KEY_LENGTH ? head + tail : `${head}:~${digest('tail', tail)}`;
  }

  /**
   * The key of a method call, `fraiseql:<tenant>:db_query:<Class.method>:<hash of arguments and varyBy>`.
   *
   * @throws CacheConfigurationError naming the argument that cannot be part of a key (a function, cycle, stream, request).
   */
  buildMethodKey(parts: MethodKeyParts | KeyedMethodKeyParts): string {
    const { name, tenantId } = parts;
    const inputs = 'key' in parts ? ownKeyText(name, parts.key) : argumentsText(name, parts.args);
    const text = inputs + varyByText(name, parts.varyBy);
    return this.methodHead(name, tenantId) + (text === '' ? NO_ARGUMENTS : digest('arguments', text));
  }

  private methodHead(name: string, tenantId: string | undefined): string {
    let ofMethod = this.methodHeads.get(name);
    let head = ofMethod?.get(tenantId);
    if (head !== undefined) return head;
    head = `${this.head(tenantId, METHOD_MARK)}:${requiredName(name, 'buildMethodKey: `name`')}:`;
    // Tenants and names may come from anywhere, and for ever.
    if (this.methodHeadCount++ >= MOST_METHOD_HEADS) {
      this.methodHeads.clear();
      this.methodHeadCount = 1;
      ofMethod = undefined;
    }
    if (ofMethod === undefined) this.methodHeads.set(name, (ofMethod = new Map()));
    ofMethod.set(tenantId, head);
    return head;
  }

  /**
   * A key that the user chose, inside a tenant: `fraiseql:<tenant>:kv:<key>`. Readable to its end, since nothing follows.
   * @throws CacheConfigurationError for anything but a non-empty text.
   */
  buildValueKey({ key, tenantId }: { key: string; tenantId?: string | undefined }): string {
    if (typeof key !== 'string' || key === '')
      throw new CacheConfigurationError(`A cache key must be a non-empty text, not ${shown(key)}.`);
    const head = `${this.head(tenantId, VALUE_MARK)}:`;
    const text = valueKeyText(key);
    return head.length + text.length <= MAX_KEY_LENGTH
      ? head + text
      : `${head}${text.slice(0, 100)}~${digest('tail', text)}`;
  }

  /**
   * The pattern, for `invalidatePattern`, of the user's own keys that match `pattern` inside a tenant. Of keys too long
   * to be kept whole, the first 100 characters can be matched, or with no star the key as a whole.
   * @throws CacheConfigurationError for anything but a text.
   */
  buildValuePattern({ pattern, tenantId }: { pattern: string; tenantId?: string | undefined }): string {
    if (typeof pattern !== 'string' || pattern === '')
      throw new CacheConfigurationError(
        `A pattern of cache keys must be a non-empty text such as 'report:*', not ${shown(pattern)}.`,
      );
    const literals = splitAtStars(pattern);
    if (literals.length === 1) return this.buildValueKey({ key: literals[0]!, tenantId });
    return `${this.head(tenantId, VALUE_MARK)}:${literals.map(valueKeyText).join('*')}`;
  }

  /**
   * The pattern of all keys of one view, for `invalidatePattern`. It takes the name as it is: where both `user` and
   * `users` are views, ask twice.
   *
   * @example
   * keys.buildMutationPattern('user');                         // fraiseql:user:*       keys without a tenant
   * keys.buildMutationPattern('user', { tenantId: 't1' });     // fraiseql:t1:user:*
   * keys.buildMutationPattern('user', { allTenants: true });   // fraiseql:*:user:*     may take in a few more keys
   * @throws CacheConfigurationError when both a tenant and all tenants are asked for.
   */
  buildMutationPattern(domain: string, { tenantId, allTenants = false }: MutationPatternScope = {}): string {
    const view = viewSegment(domain);
    if (!allTenants) return `${this.head(tenantId, view)}:*`;
    if (tenantId !== undefined) {
      throw new CacheConfigurationError(
        'buildMutationPattern: `tenantId` and `allTenants: true` contradict each other. Give one of them.',
      );
    }
    return `${this.root}:*:${view}:*`;
  }

  /**
   * What every key of this tenant starts with, and no key of another tenant or without one. Without a tenant it is what
   * *every* key starts with: tenant-less keys have no prefix of their own.
   *
   * @example keys.tenantPrefix('tenant-123'); // fraiseql:tenant-123:
   */
  tenantPrefix(tenantId?: string): string {
    return tenantId === undefined ? `${this.root}:` : `${this.root}:${tenantSegment(tenantId)}:`;
  }

  private head(tenantId: string | undefined, view: string): string {
    if (tenantId !== undefined) return `${this.root}:${tenantSegment(tenantId)}:${view}`;
    return readsAsTenant(view) || view.startsWith('@') || view.startsWith('/')
      ? `${this.root}:/${view}`
      : `${this.root}:${view}`;
  }
}

/** A short hash that stands for a key in logs, labels and error messages, where the key itself must never appear. */
export function hashKey(key: string): string {
  return digest('label', key).slice(0, 12);
}

function readsAsTenant(segment: string): boolean {
  return /[\d-]/.test(segment);
}

function tenantSegment(tenantId: string): string {
  const segment = requiredName(tenantId, 'The tenant id of a cache key');
  return readsAsTenant(segment) && !segment.startsWith('@') && !segment.startsWith('/') ? segment : `@${segment}`;
}

function viewSegment(name: string): string {
  const segment = requiredName(name, 'The query name of a cache key');
  return segment === METHOD_MARK || segment === VALUE_MARK ? `'${segment}` : segment;
}

function valueKeyText(key: string): string {
  return key.replace(UNSAFE_IN_VALUE_KEY, (unit) => {
    const code = unit.charCodeAt(0);
    return code < 256 ? `%${code.toString(16).padStart(2, '0')}` : `%u${code.toString(16).padStart(4, '0')}`;
  });
}

/** Untyped callers exist, and `tenantId: null` must not turn into a tenant named "null" or into everybody's entry. */
function requiredName(name: unknown, what: string): string {
  if (typeof name === 'string') return nameSegment(name);
  throw new CacheConfigurationError(
    `${what} must be a string, not ${name === null ? 'null' : typeof name}. Convert it, or leave an optional one out.`,
  );
}

function filterSegment(name: string, value: unknown): string {
  try {
    return valueSegment(value, name.endsWith('__in'));
  } catch (error) {
    throw unkeyable(error, `buildKey: filter ${JSON.stringify(name)}`, 'Give its data instead');
  }
}

function orderTail(orderBy: readonly OrderTerm[]): string {
  let tail = '';
  if (!Array.isArray(orderBy))
    throw new CacheConfigurationError("buildKey: `orderBy` must be a list of pairs, as in [['created_at', 'DESC']].");
  for (const term of orderBy as readonly unknown[]) {
    if (!Array.isArray(term) || term.length !== 2) {
      throw new CacheConfigurationError("buildKey: each `orderBy` must be a pair, as in [['created_at', 'DESC']].");
    }
    tail += `:${requiredName(term[0], 'A column of `orderBy`')}:${requiredName(term[1], 'A direction of `orderBy`')}`;
  }
  return tail === '' ? '' : `:order${tail}`;
}

function argumentsText(method: string, args: readonly unknown[]): string {
  let length = args.length;
  while (length > 0 && args[length - 1] === undefined) length--;
  let text = '';
  for (let i = 0; i < length; i++) {
    try {
      text += `${canonicalText(args[i])},`;
    } catch (error) {
      const remedy = 'Leave it out with a key of your own: pass `key: (...args) => …` to the decorator';
      throw unkeyable(error, `${method}: argument ${i}`, remedy);
    }
  }
  return text;
}

function ownKeyText(method: string, key: unknown): string {
  try {
    return key === undefined ? '' : `${canonicalText(key)},`;
  } catch (error) {
    throw unkeyable(error, `${method}: what \`key\` returned`, 'Return a string or number that stands for it');
  }
}

function varyByText(method: string, varyBy: Readonly<Record<string, unknown>> | undefined): string {
  if (varyBy === undefined) return '';
  try {
    const text = canonicalText(varyBy);
    return text === '{}' ? '' : text; // each argument ends in a comma, this does not
  } catch (error) {
    throw unkeyable(error, `${method}: \`varyBy\``, 'Give a string or number that stands for it');
  }
}

function unkeyable(error: unknown, what: string, remedy: string): unknown {
  if (!(error instanceof UnkeyableValueError)) return error;
  const where = error.path.length > 0 ? ` (at .${error.path.join('.')})` : '';
  return new CacheConfigurationError(
    `${what}${where} is ${error.reason}, so it cannot be part of a cache key. ${remedy}.`,
  );
}
