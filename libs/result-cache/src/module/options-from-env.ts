import { ttlToMs, type NamedTtls, type Ttl } from '../core/duration.js';
import { CacheConfigurationError } from '../core/errors.js';
import { type MemoryOptions } from '../core/result-cache.js';

/** The part of the module's options that the environment can set. */
export interface EnvironmentOptions {
  memory?: MemoryOptions;
  defaultTtl?: Ttl;
  ttls: NamedTtls;
}

const TTL = 'CACHE_TTL_';

/**
 * Options of `CacheModule.forRoot` from the environment:
 *
 * - `L1_CACHE_MAX_SIZE`: `memory.maxEntries`; `L1_CACHE_DEFAULT_TTL`: `memory.ttl`.
 * - `CACHE_TTL_DEFAULT`: `defaultTtl`.
 * - `CACHE_TTL_USER_PROFILE` and any other of the kind: `ttls.user_profile`, for `ttl: { named: 'user_profile' }`.
 *
 * Times are seconds, or text with a unit (`5m`). A variable that is empty counts as unset. `VALKEY_URL` is not read:
 * there is no second tier but PostgreSQL.
 *
 * @throws CacheConfigurationError for a number that is none, with the variable's name.
 * @example
 * CacheModule.forRoot({ connection, tenancy, ...cacheOptionsFromEnv() })
 */
export function cacheOptionsFromEnv(
  env: Readonly<Record<string, string | undefined>> = process.env,
): EnvironmentOptions {
  const given = (name: string): string | undefined => env[name]?.trim() || undefined;
  const size = given('L1_CACHE_MAX_SIZE');
  const memory: MemoryOptions = {
    ...(size !== undefined && { maxEntries: entries('L1_CACHE_MAX_SIZE', size) }),
    ...ttlOption('ttl', 'L1_CACHE_DEFAULT_TTL', given),
  };
  const names = Object.keys(env).filter((name) => name.startsWith(TTL) && name !== `${TTL}DEFAULT` && given(name));
  if (names.includes(TTL))
    throw new CacheConfigurationError(`${TTL} lacks a name behind it; write ${TTL}USER_PROFILE=300`);
  return {
    ...(Object.keys(memory).length > 0 && { memory }),
    ...ttlOption('defaultTtl', `${TTL}DEFAULT`, given),
    ttls: Object.fromEntries(
      names.map((name) => [name.slice(TTL.length).toLowerCase(), seconds(name, given(name)!)] as const),
    ),
  };
}

function ttlOption<K extends string>(
  option: K,
  name: string,
  given: (name: string) => string | undefined,
): Partial<Record<K, Ttl>> {
  const text = given(name);
  return text === undefined ? {} : ({ [option]: seconds(name, text) } as Record<K, Ttl>);
}

function seconds(name: string, text: string): Ttl {
  const ttl = /^\d+(\.\d+)?$/.test(text) ? Number(text) : text;
  try {
    ttlToMs(ttl);
  } catch {
    throw new CacheConfigurationError(
      `${name}=${text} is not a time to live; write seconds (${name}=300) or a text with a unit (${name}=5m)`,
    );
  }
  return ttl;
}

function entries(name: string, text: string): number {
  if (/^\d+$/.test(text) && Number(text) >= 1 && Number(text) <= 1 << 30) return Number(text);
  throw new CacheConfigurationError(`${name}=${text} is not a number of entries; write a whole one: ${name}=1000`);
}
