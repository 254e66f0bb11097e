import { type RowValues } from '../core/dependencies.js';
import { CacheConfigurationError } from '../core/errors.js';
import { type CascadeCatalogue } from '../postgres/cascade-store.js';
import { list } from './pattern.js';

/**
 * What to invalidate: `'user:123'` (a row by its primary key), `'post:author:123'` (rows by a column), `'user'` or
 * `'user:*'` (any row), or the same as an object.
 */
export type CascadeTargetName = string | { domain: string; where?: RowValues };

/** A target, read: a domain, or rows of it. */
export interface ReadTarget {
  domain: string;
  /** `null`: any row. */
  values: RowValues | null;
  /** As messages name it. */
  text: string;
}

/** @throws CacheConfigurationError for a domain that no table feeds, and for rows that cannot be told. */
export function readTarget(target: CascadeTargetName, catalogue: CascadeCatalogue): ReadTarget {
  const given = typeof target === 'string' ? fromText(target) : target;
  if (typeof given !== 'object' || given === null || typeof given.domain !== 'string')
    throw new CacheConfigurationError("cascade: write what to invalidate as 'user:123', 'user' or { domain: 'user' }");
  const { domain } = given;
  const known = catalogue.get(domain);
  if (known === undefined)
    throw new CacheConfigurationError(
      `cascade: '${domain}' is no domain that a watched table feeds; there are ${list([...catalogue.keys()])}`,
    );
  if ('where' in given && given.where !== undefined) {
    const unknown = Object.keys(given.where).find((column) => !Object.hasOwn(known.columns, column));
    if (unknown !== undefined)
      throw new CacheConfigurationError(
        `cascade: '${domain}' has no column '${unknown}'; it has ${list(Object.keys(known.columns))}`,
      );
    return { domain, values: given.where, text: domain };
  }
  const parts = 'parts' in given ? given.parts : [];
  if (parts.length === 0 || (parts.length === 1 && parts[0] === '*')) return { domain, values: null, text: domain };
  const text = [domain, ...parts].join(':');
  const [first = '', ...rest] = parts;
  const column = rest.length > 0 && [first, `${first}_id`].find((name) => Object.hasOwn(known.columns, name));
  if (column) return { domain, values: { [column]: rest.join(':') }, text };
  if (known.key.length !== 1)
    throw new CacheConfigurationError(
      `cascade: the primary key of '${domain}' is not one column; write { domain: '${domain}', where: { … } }`,
    );
  return { domain, values: { [known.key[0]!]: parts.join(':') }, text };
}

function fromText(text: string): { domain: string; parts: string[] } {
  const [domain = '', ...parts] = text.split(':');
  return { domain, parts };
}
