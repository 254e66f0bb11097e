import { createHash } from 'node:crypto';
import { CacheConfigurationError, shown } from './errors.js';
import { MAX_KEY_LENGTH } from './keys.js';
import { parsePattern, type KeyPattern } from './pattern.js';

/** Room for the mark and a SHA-256 in base64url. */
const KEPT = MAX_KEY_LENGTH - 45;

/**
 * A key of the user's own in a form that PostgreSQL's text and an index entry can hold: unchanged where it already is,
 * else its printable beginning with a digest of the whole behind it.
 * @throws CacheConfigurationError for anything but a non-empty text.
 */
export function storableKey(key: string): string {
  if (typeof key !== 'string' || key === '')
    throw new CacheConfigurationError(`a cache key must be a non-empty text, not ${shown(key)}`);
  // Most keys are short and plain, and the pattern for those is several times faster.
  if (key.length <= MAX_KEY_LENGTH && PRINTABLE.test(key)) return key;
  if (Buffer.byteLength(key) <= MAX_KEY_LENGTH && !UNSTORABLE.test(key)) return key;
  // UTF-16 tells lone surrogates apart, which UTF-8 would all turn into the same replacement character.
  const hash = createHash('sha256').update(Buffer.from(key, 'utf16le')).digest('base64url');
  return `${key.replace(/[^\x20-\x7e]/g, '?').slice(0, KEPT)}\x7f${hash}`;
}

/** The longest `LIKE` pattern, in bytes: a key's 1,000 all escaped, and still within what the log's index takes. */
const MOST_PATTERN_BYTES = 2_500;

/**
 * A pattern over such keys.
 * @throws CacheConfigurationError for what can match none: keys with control characters were rewritten, and a longer
 * one than any key is a mistake. Neither may reach the log, which is read line by line.
 */
export function storablePattern(pattern: string): KeyPattern {
  if (typeof pattern !== 'string' || pattern === '')
    throw new CacheConfigurationError(
      `a pattern of cache keys must be a non-empty text such as 'report:*', not ${shown(pattern)}`,
    );
  if (UNSTORABLE.test(pattern))
    throw new CacheConfigurationError(
      'a pattern of cache keys holds a control character or half a surrogate pair; keys with one are stored under a digest that no pattern finds: use delete(key)',
    );
  const parsed = parsePattern(pattern);
  if (Buffer.byteLength(parsed.like) > MOST_PATTERN_BYTES)
    throw new CacheConfigurationError(
      `a pattern of cache keys is longer than any key can be (${MAX_KEY_LENGTH} characters); shorten it and end it in *`,
    );
  return parsed;
}

/** ASCII that prints. */
const PRINTABLE = /^[\x20-\x7e]*$/;

/** Control characters and halves of surrogate pairs. 0x7f is among them: it marks what was rewritten. */
// eslint-disable-next-line no-control-regex
const UNSTORABLE = /[\x00-\x1f\x7f]|\p{Surrogate}/u;
