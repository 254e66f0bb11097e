import { CacheConfigurationError } from '../core/errors.js';
import { type CascadeCatalogue, type CascadeDetail, type CatalogueDomain } from '../postgres/cascade-store.js';

/** What a pattern of `cascadeTo` leads to. */
export type PatternTarget = Pick<CascadeDetail, 'target' | 'source_column' | 'target_column' | 'free_tag'>;

const PLACEHOLDER = /\{([^{}]+)\}/g;
const WHOLE = { source_column: null, target_column: null, free_tag: null };

/** The pattern of any row of a domain. */
export function anyRow(domain: string): string {
  return `${domain}:*`;
}

/** The pattern of rows by a column, or of any row where a name cannot stand in a pattern. */
export function rowsBy(domain: string, column: string, sourceColumn: string): string {
  // eslint-disable-next-line no-control-regex
  return [column, sourceColumn].some((name) => /[:{}\x00-\x1f]/.test(name))
    ? anyRow(domain)
    : `${domain}:${column}:{${sourceColumn}}`;
}

/**
 * Read one pattern of `cascadeTo`.
 * @throws CacheConfigurationError for a pattern that means nothing, with what there is.
 */
export function parsePattern(
  pattern: string,
  source: CatalogueDomain,
  catalogue: CascadeCatalogue,
  where: string,
): PatternTarget {
  const wrong = (what: string): CacheConfigurationError => new CacheConfigurationError(`${where}: ${what}`);
  if (pattern === '*')
    throw wrong(`cascadeTo '*' would make everything void; name the domains: cascadeTo: ['post', 'comment']`);
  // eslint-disable-next-line no-control-regex
  if (/[\x00-\x1f]/.test(pattern)) throw wrong(`cascadeTo ${JSON.stringify(pattern)} holds a control character`);
  const segments = pattern.split(':');
  const [domain = '', second = '', third = ''] = segments;
  const named = [...pattern.matchAll(PLACEHOLDER)].map(([, column]) => column!);
  for (const column of named)
    if (!Object.hasOwn(source.columns, column))
      throw wrong(
        `'${pattern}' names the column '${column}', which the source has not got; it has ${list(Object.keys(source.columns))}`,
      );

  if (pattern.startsWith('@') || (segments.length >= 3 && isPlaceholder(second) && named.length > 0)) {
    const tag = pattern.replace(/^@/, '');
    if (tag === '') throw wrong(`'@' names no tag; write '@front page', or '@reader {id}'`);
    return { ...WHOLE, target: null, free_tag: tag };
  }
  const target = catalogue.get(domain);
  if (target === undefined)
    throw wrong(
      `'${pattern}' leads to the domain '${domain}', which no watched table feeds; there are ${list([...catalogue.keys()])}${segments.length > 1 ? `. For a tag of that text write '@${pattern}'` : ''}`,
    );
  if (segments.length === 1 || (segments.length === 2 && second === '*')) return { ...WHOLE, target: domain };
  if (segments.length === 2 && isPlaceholder(second)) {
    if (target.key.length !== 1)
      throw wrong(
        `'${pattern}' means rows of '${domain}' by their primary key, which is ${target.key.length === 0 ? 'none, or not the same in all its tables' : `${list(target.key)} together`}; name a column: '${domain}:column:${second}', or all rows: '${domain}'`,
      );
    return { target: domain, source_column: named[0]!, target_column: target.key[0]!, free_tag: null };
  }
  if (segments.length === 3 && (third === '*' || isPlaceholder(third))) {
    // A denormalised table may have both, the name beside the id: the one that is compared like the source's is meant.
    const columns = [second, `${second}_id`].filter((name) => Object.hasOwn(target.columns, name));
    const kind = named.length > 0 ? source.columns[named[0]!] : null;
    const column = columns.find((name) => target.columns[name] === kind) ?? columns[0];
    if (column === undefined)
      throw wrong(
        `'${pattern}': '${domain}' has no column '${second}' or '${second}_id'; it has ${list(Object.keys(target.columns))}. Rows that are reached over another domain follow from its own rules`,
      );
    return third === '*'
      ? { ...WHOLE, target: domain }
      : { target: domain, source_column: named[0]!, target_column: column, free_tag: null };
  }
  throw wrong(
    `'${pattern}' is no pattern; write 'post' (any post), 'post:author:{id}' (by a column), 'post:{post_id}' (by primary key), 'user:{id}:followers' or '@any text {id}' (a tag)`,
  );
}

function isPlaceholder(segment: string): boolean {
  return /^\{[^{}]+\}$/.test(segment);
}

/** Names as a sentence has them. */
export function list(names: readonly string[]): string {
  return names.length === 0 ? 'none' : names.map((name) => `'${name}'`).join(', ');
}
