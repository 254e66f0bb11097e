import ms, { type StringValue } from 'ms';
import { CacheConfigurationError, shown } from './errors.js';

/** A time to live: **seconds** as a number, or text with a unit such as `'30s'`, `'5m'`, `'1h'`. `0` means do not store. */
// Not `StringValue` of ms: its declarations are a package of their own, without which the whole type would turn into `any`.
export type Ttl = number | string;

/** A TTL of the application's own list, `ttls` of `CacheModule.forRoot`: `{ named: 'user_profile' }`. */
export interface NamedTtl {
  readonly named: string;
}

/** Names and what they stand for. */
export type NamedTtls = Readonly<Record<string, Ttl>>;

/**
 * A TTL in milliseconds.
 * @throws CacheConfigurationError for anything negative, not finite, or not a duration; `where` names the option.
 */
export function ttlToMs(ttl: Ttl, where = 'ttl'): number {
  const value = typeof ttl === 'string' ? parse(ttl) : typeof ttl === 'number' ? ttl * 1000 : NaN;
  if (!Number.isFinite(value) || value < 0)
    throw new CacheConfigurationError(
      `${where}: ${shown(ttl)} is not a time to live; write seconds (300) or a text with a unit ('5m'), 0 for "do not store"`,
    );
  return value;
}

/**
 * The TTL that is meant.
 * @param named The list of names; `undefined` where it is not known yet: then a name stands for 0.
 * @throws CacheConfigurationError for a name that is not listed, or anything else that is no TTL.
 */
export function resolveTtl(ttl: Ttl | NamedTtl, named: NamedTtls | undefined, where = 'ttl'): Ttl {
  if (typeof ttl !== 'object') return ttl;
  const name: unknown = (ttl as NamedTtl | null)?.named;
  if (typeof name !== 'string' || name === '' || Object.keys(ttl).length !== 1)
    throw new CacheConfigurationError(
      `${where}: a named time to live is written { named: 'user_profile' }; otherwise write seconds (300) or a text with a unit ('5m')`,
    );
  if (named === undefined) return 0;
  if (Object.hasOwn(named, name)) return named[name]!;
  const known = Object.keys(named);
  throw new CacheConfigurationError(
    `${where}: there is no time to live named '${name}' (${known.length === 0 ? 'none is set' : `known are ${known.join(', ')}`}); write CacheModule.forRoot({ ttls: { ${/^\w+$/.test(name) ? name : JSON.stringify(name)}: 300 } })`,
  );
}

function parse(text: string): number {
  // `ms` reads a bare number as milliseconds; here a number means seconds, so a unit is demanded.
  return /[a-z]/i.test(text) && text.length <= 100 ? (ms(text as StringValue) ?? NaN) : NaN;
}
