import { CacheConfigurationError } from '../core/errors.js';
import { type OrderTerm } from '../core/keys.js';
import { quoteIdentifier } from '../postgres/sql.js';

/**
 * Columns and what they must be: `{ status: 'active', deleted_at: null, id__in: [1, 2], created_at__gte: date }`. Operators:
 * `eq` (the default), `ne`, `gt`, `gte`, `lt`, `lte`, `in`, `like`, `ilike`, `isnull` (with `true` or `false`).
 */
export type Filters = Readonly<Record<string, unknown>>;

/** A statement and its parameters. */
export interface SqlStatement {
  text: string;
  values: unknown[];
}

/** What to select, in what order, how much of it. */
export interface Selection {
  filters: Filters;
  orderBy?: readonly OrderTerm[] | undefined;
  limit?: number | undefined;
  offset?: number | undefined;
}

const COMPARISONS: Readonly<Record<string, string>> = {
  eq: '=',
  ne: '<>',
  gt: '>',
  gte: '>=',
  lt: '<',
  lte: '<=',
  like: 'LIKE',
  ilike: 'ILIKE',
};
const OPERATORS = [...Object.keys(COMPARISONS), 'in', 'isnull'];

/** Quote a name as it was given, `view` or `schema.view`; what is in double quotes already stays. */
export function quoteRelation(name: string, what: string): string {
  const part = String.raw`"(?:[^"\0]|"")+"|[^".\0]+`;
  if (typeof name !== 'string' || !new RegExp(`^(?:(?:${part})\\.)?(?:${part})$`).test(name))
    throw new CacheConfigurationError(
      `${what}: ${JSON.stringify(name)} is no name; write 'v_user', 'blog.v_user', or double quotes around unusual parts`,
    );
  return [...name.matchAll(new RegExp(part, 'g'))]
    .map(([one]) => (one.startsWith('"') ? one : quoteIdentifier(one)))
    .join('.');
}

/**
 * The SELECT of a selection. Names are quoted, values are parameters.
 * @throws CacheConfigurationError for an operator, a direction or a number that is none.
 */
export function selectFrom(view: string, { filters, orderBy, limit, offset }: Selection): SqlStatement {
  const values: unknown[] = [];
  const parameter = (value: unknown): string => `$${values.push(value)}`;
  const conditions = Object.entries(filters).map(([name, value]) => condition(view, name, value, parameter));
  const order = (orderBy ?? []).map(([column, direction]) => {
    if (!/^(asc|desc)$/i.test(direction))
      throw new CacheConfigurationError(
        `find(${JSON.stringify(view)}): ${JSON.stringify(direction)} is no direction; write orderBy: [['created_at', 'DESC']]`,
      );
    return `${quoteIdentifier(column)} ${direction.toUpperCase()}`;
  });
  const text = [
    `SELECT * FROM ${quoteRelation(view, 'find')}`,
    conditions.length > 0 ? `WHERE ${conditions.join(' AND ')}` : '',
    order.length > 0 ? `ORDER BY ${order.join(', ')}` : '',
    limit === undefined ? '' : `LIMIT ${parameter(count(limit, view, 'limit'))}`,
    offset === undefined ? '' : `OFFSET ${parameter(count(offset, view, 'offset'))}`,
  ];
  return { text: text.filter(Boolean).join(' '), values };
}

function condition(view: string, name: string, value: unknown, parameter: (value: unknown) => string): string {
  const split = name.lastIndexOf('__');
  const [field, operator] = split > 0 ? [name.slice(0, split), name.slice(split + 2)] : [name, 'eq'];
  const where = `find(${JSON.stringify(view)}): the filter ${JSON.stringify(name)}`;
  const column = quoteIdentifier(field);
  if (name.startsWith('__')) throw new CacheConfigurationError(`${where} names no column`);
  if (!OPERATORS.includes(operator))
    throw new CacheConfigurationError(`${where} has no known operator; known are ${OPERATORS.join(', ')}`);
  if (value === undefined)
    throw new CacheConfigurationError(`${where} is undefined; leave it out, or write null for IS NULL`);
  if (operator === 'isnull') {
    if (typeof value !== 'boolean') throw new CacheConfigurationError(`${where} takes true or false`);
    return `${column} IS ${value ? '' : 'NOT '}NULL`;
  }
  if (operator === 'in') {
    if (!Array.isArray(value) || value.includes(undefined))
      throw new CacheConfigurationError(`${where} takes a list of values: ${name}: ['a', 'b']`);
    const given = (value as unknown[]).filter((one) => one !== null);
    const among = `${column} = ANY (${parameter(given)})`;
    return given.length === value.length ? among : `(${among} OR ${column} IS NULL)`;
  }
  if (value === null) {
    if (operator === 'eq' || operator === 'ne') return `${column} IS ${operator === 'eq' ? '' : 'NOT '}NULL`;
    throw new CacheConfigurationError(`${where} compares with null, which nothing does; write ${field}__isnull: true`);
  }
  return `${column} ${COMPARISONS[operator]!} ${parameter(value)}`;
}

function count(value: number, view: string, option: string): number {
  if (!Number.isSafeInteger(value) || value < 0)
    throw new CacheConfigurationError(
      `find(${JSON.stringify(view)}): ${option}: ${String(value)} is not a whole number; write ${option}: 10`,
    );
  return value;
}
