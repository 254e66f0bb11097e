import { CacheConfigurationError } from './errors.js';

/** A pattern over cache keys, ready for the database and for a scan of memory. */
export interface KeyPattern {
  /** The literal text before the first star: an index range. Empty when the pattern starts with a star. */
  readonly prefix: string;
  /** The same as an SQL `LIKE` pattern (with the default escape character `\`). */
  readonly like: string;
  /** Whether a key matches, exactly as `like` would decide, in time linear in the key for each star. */
  matches(key: string): boolean;
}

/**
 * Reads a pattern in which `*` stands for any characters, also none and also `:`. `\*` is a literal star and `\\` a
 * literal backslash; a backslash before anything else is itself. There are no other wildcards: `%`, `_`, `?` are literal.
 * Keys built by `CacheKeyBuilder` hold neither stars nor backslashes, so what it returns needs no escaping.
 *
 * @throws CacheConfigurationError when the pattern holds NUL or half a surrogate pair, which no PostgreSQL text can.
 * @example
 * parsePattern('fraiseql:tenant_1:user:*'); // prefix 'fraiseql:tenant_1:user:', like 'fraiseql:tenant\\_1:user:%'
 */
export function parsePattern(pattern: string): KeyPattern {
  if (/\0|\p{Surrogate}/u.test(pattern)) {
    throw new CacheConfigurationError(
      'A cache key pattern holds a NUL or half a surrogate pair, so no key can match it. Remove the character.',
    );
  }
  const literals = splitAtStars(pattern);
  return {
    prefix: literals[0] ?? '',
    like: literals.map((literal) => literal.replace(/[\\%_]/g, '\\$&')).join('%'),
    matches: (key) => matchesLiterals(key, literals),
  };
}

/** The same from a `LIKE` pattern that {@link parsePattern} made, as other processes report it. */
export function patternFromLike(like: string): KeyPattern {
  const literals = [''];
  for (const [token] of like.matchAll(/\\[^]|[^]/gu)) {
    if (token === '%') literals.push('');
    else literals[literals.length - 1] += token.length > 1 && token.startsWith('\\') ? token.slice(1) : token;
  }
  return { prefix: literals[0] ?? '', like, matches: (key) => matchesLiterals(key, literals) };
}

/** The literal texts around the stars of a pattern: `'a*b\\*'` gives `['a', 'b*']`. */
export function splitAtStars(pattern: string): string[] {
  const literals = [''];
  for (const [token] of pattern.matchAll(/\\[\\*]|[^]/gu)) {
    if (token === '*') literals.push('');
    else literals[literals.length - 1] += token.length > 1 && token.startsWith('\\') ? token.slice(1) : token;
  }
  return literals;
}

/** Takes each literal at its earliest place; with nothing but stars between them, no later place can do better. */
function matchesLiterals(key: string, literals: readonly string[]): boolean {
  const first = literals[0] ?? '';
  if (literals.length === 1) return key === first;
  if (!key.startsWith(first)) return false;
  let position = first.length;
  for (const literal of literals.slice(1, -1)) {
    const found = key.indexOf(literal, position);
    if (found < 0) return false;
    position = found + literal.length;
  }
  const last = literals.at(-1) ?? '';
  return key.length - last.length >= position && key.endsWith(last);
}
