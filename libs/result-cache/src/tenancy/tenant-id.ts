import { CacheConfigurationError } from '../core/errors.js';

/** What may name a tenant. Numbers and bigints become their decimal text, so `42` and `'42'` are the same tenant. */
export type TenantIdInput = string | number | bigint;

/** PostgreSQL `text` holds neither: NUL is refused, and an unpaired surrogate is stored as U+FFFD, which would make two tenants one. */
const UNSTORABLE = /\0|\p{Surrogate}/u;

/**
 * The tenant id as the cache files it: a non-empty string.
 *
 * @param source what gave the value, for the message; the value itself never appears there.
 * @throws CacheConfigurationError for everything that is not a usable id.
 */
export function toTenantId(value: unknown, source: string): string {
  const id = asText(value);
  if (id === undefined) {
    throw new CacheConfigurationError(
      `${source} gave ${describe(value)} as the tenant id. Give a non-empty string, a safe integer or a bigint.`,
    );
  }
  if (UNSTORABLE.test(id)) {
    throw new CacheConfigurationError(
      `${source} gave a tenant id with a NUL character or an unpaired surrogate, which PostgreSQL cannot store. ` +
        'Give well-formed text.',
    );
  }
  return id;
}

/** As `toTenantId`, where `undefined` and `null` mean that no tenant was named. */
export function toOptionalTenantId(value: unknown, source: string): string | undefined {
  return value === undefined || value === null ? undefined : toTenantId(value, source);
}

function asText(value: unknown): string | undefined {
  if (typeof value === 'bigint') return String(value);
  // Beyond 2^53 neighbouring ids have already become the same number; a fraction is no id at all.
  if (typeof value === 'number') return Number.isSafeInteger(value) ? String(value) : undefined;
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function describe(value: unknown): string {
  if (value === '') return 'an empty string';
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  if (typeof value === 'number') return 'a number that is not a safe integer';
  return value === undefined ? 'undefined' : `a value of type ${typeof value}`;
}
