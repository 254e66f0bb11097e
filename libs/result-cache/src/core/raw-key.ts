import { createHash } from 'node:crypto';
import { CacheConfigurationError } from './errors.js';
import { MAX_KEY_LENGTH } from './keys.js';

/** Room for the mark and a SHA-256 in base64url. */
const KEPT = MAX_KEY_LENGTH - 45;

/**
 * A key of the user's own in a form that PostgreSQL's text and an index entry can hold: unchanged where it already is,
 * else its printable beginning with a digest of the whole behind it.
 * @throws CacheConfigurationError for anything but a non-empty text.
 */
export function storableKey(key: string): string {
  if (typeof key !== 'string' || key === '')
    throw new CacheConfigurationError(`a cache key must be a non-empty text, not ${JSON.stringify(key)}`);
  if (key.length <= MAX_KEY_LENGTH / 4 && !UNSTORABLE.test(key)) return key;
  if (Buffer.byteLength(key) <= MAX_KEY_LENGTH && !UNSTORABLE.test(key)) return key;
  // UTF-16 tells lone surrogates apart, which UTF-8 would all turn into the same replacement character.
  const hash = createHash('sha256').update(Buffer.from(key, 'utf16le')).digest('base64url');
  return `${key.replace(/[^\x20-\x7e]/g, '?').slice(0, KEPT)}\x7f${hash}`;
}

/** Control characters and halves of surrogate pairs. 0x7f is among them: it marks what was rewritten. */
// eslint-disable-next-line no-control-regex
const UNSTORABLE = /[\x00-\x1f\x7f]|\p{Surrogate}/u;
