import ms, { type StringValue } from 'ms';
import { CacheConfigurationError } from './errors.js';

/** A time to live: **seconds** as a number, or text with a unit such as `'30s'`, `'5m'`, `'1h'`. `0` means do not store. */
// Not `StringValue` of ms: its declarations are a package of their own, without which the whole type would turn into `any`.
export type Ttl = number | string;

/**
 * A TTL in milliseconds.
 * @throws CacheConfigurationError for anything negative, not finite, or not a duration; `where` names the option.
 */
export function ttlToMs(ttl: Ttl, where = 'ttl'): number {
  const value = typeof ttl === 'string' ? parse(ttl) : typeof ttl === 'number' ? ttl * 1000 : NaN;
  if (!Number.isFinite(value) || value < 0)
    throw new CacheConfigurationError(
      `${where}: ${describe(ttl)} is not a time to live; write seconds (300) or a text with a unit ('5m'), 0 for "do not store"`,
    );
  return value;
}

function parse(text: string): number {
  // `ms` reads a bare number as milliseconds; here a number means seconds, so a unit is demanded.
  return /[a-z]/i.test(text) && text.length <= 100 ? (ms(text as StringValue) ?? NaN) : NaN;
}

function describe(value: unknown): string {
  return typeof value === 'string' ? JSON.stringify(value) : String(value);
}
