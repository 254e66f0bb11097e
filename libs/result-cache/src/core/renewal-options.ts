import { ttlToMs, type Ttl } from './duration.js';
import { CacheConfigurationError } from './errors.js';

/**
 * When a value is renewed, and what callers get meanwhile or where that fails. Every one is off until it is set; `false` turns
 * off what the cache has set. Times are seconds as numbers, or text with a unit.
 *
 * An older value never enters another cached one: inside a computation nothing is served while it is renewed, and a
 * computation that was given a fallback is not stored.
 */
export interface RenewalOptions {
  /**
   * For so long after its TTL a value is served at once, while one computation renews it in the background (RFC 5861). Only
   * where nothing it depends on was touched. Gives up: the TTL as the longest life of a value that writes do not void.
   */
  staleWhileRevalidate?: Ttl | false;
  /**
   * The same for a value **known to be invalidated**, if it was computed no longer ago than this. Gives up: strictness. A
   * caller may get what a write before its call has made void, its own write too.
   */
  serveInvalidatedWhileRevalidate?: Ttl | false;
  /**
   * For so long after its TTL a value is served where computing a new one fails, or takes longer than `softTimeout` or
   * `hardTimeout`; also from memory, while the database cannot be asked. Only where, by what this process knows, nothing it
   * depends on was touched. Errors that tell of the caller's own mistake (status 400 to 499) are thrown all the same. Gives
   * up: the error, which is an event then; and, while the database cannot be asked, strictness.
   */
  grace?: Ttl | false;
  /**
   * The same for a value **known to be invalidated**, if it was computed no longer ago than this. Gives up: strictness, for
   * as long as computing fails.
   */
  serveInvalidatedInGrace?: Ttl | false;
  /**
   * After so long a caller gets what `grace` or `serveInvalidatedInGrace` allows, if there is such a value; computing goes on
   * in the background. Gives up: the newer value, for this caller.
   */
  softTimeout?: Ttl | false;
  /**
   * After so long a caller gets what `grace` allows, or else a {@link ComputationTimeoutError}; computing goes on in the
   * background, and its value is stored if it is valid. Not inside a transaction of the caller's, nor for a call that `when`
   * declines. Gives up: the answer, for this caller. It ends no query: limit statements in the database as well.
   */
  hardTimeout?: Ttl | false;
  /**
   * After this share of its TTL (between 0 and 1) a hit starts a renewal in the background. Gives up: computations, of values
   * that are read once more at the end of their life and never again.
   */
  eagerRefresh?: number | false;
  /**
   * Each value's TTL is shortened at random by at most this share (between 0 and 1), so that values stored together do not
   * expire together. Gives up: half of that share of the TTL, on average.
   */
  ttlJitter?: number | false;
  /**
   * TTL of results that say "nothing there": `null`, `undefined`, and empty lists, maps and sets. 0: they are not stored.
   * Gives up: hits on such results. Errors are never stored, whatever this says.
   */
  negativeTtl?: Ttl | false;
}

/** The names of these options. */
export const RENEWAL_KEYS = [
  'staleWhileRevalidate',
  'serveInvalidatedWhileRevalidate',
  'grace',
  'serveInvalidatedInGrace',
  'softTimeout',
  'hardTimeout',
  'eagerRefresh',
  'ttlJitter',
  'negativeTtl',
] as const satisfies readonly (keyof RenewalOptions)[];

const NAMES: ReadonlySet<string> = new Set(RENEWAL_KEYS);

/** How long an older value may be served. In milliseconds; 0: not at all. */
export interface StaleWindow {
  /** After its TTL has ended. */
  readonly expiredMs: number;
  /** After it was computed, where it is known to be invalidated. */
  readonly invalidatedMs: number;
}

/** The options in the engine's terms. */
export interface Renewal {
  readonly whileRevalidating: StaleWindow;
  readonly inGrace: StaleWindow;
  /** `Infinity`: none, and so is the next. */
  readonly softTimeoutMs: number;
  readonly hardTimeoutMs: number;
  /** Share of the TTL after which a hit renews; 1: never. */
  readonly eagerRefresh: number;
  readonly ttlJitter: number;
  /** `null`: that of all other values. */
  readonly negativeTtlMs: number | null;
}

/** Those of some options that are about renewal and set; `null` for none. */
export function renewalPart(options: object): RenewalOptions | null {
  let part: Record<string, unknown> | null = null;
  // A loop over what is there, because a policy may be made for every call.
  for (const name in options) {
    const value = (options as Record<string, unknown>)[name];
    if (value !== undefined && NAMES.has(name)) (part ??= {})[name] = value;
  }
  return part;
}

/** The longest pause a Node timer can make; a longer one would fire at once. */
const MOST_TIMER_MS = 2 ** 31 - 1;

/**
 * What options ask for.
 * @throws CacheConfigurationError
 */
export function renewalOf(options: RenewalOptions, where: string): Renewal {
  const time = (name: keyof RenewalOptions, off: number): number => {
    const given = options[name];
    return given === undefined || given === false ? off : ttlToMs(given, `${where}: ${name}`);
  };
  const timeout = (name: 'softTimeout' | 'hardTimeout'): number => {
    const ms = time(name, Infinity);
    if (ms === 0 || (ms > MOST_TIMER_MS && ms !== Infinity))
      throw new CacheConfigurationError(
        `${where}: ${name}: ${JSON.stringify(options[name])} is no time to wait; write ${name}: '500ms', or false for none`,
      );
    return ms;
  };
  return {
    whileRevalidating: {
      expiredMs: time('staleWhileRevalidate', 0),
      invalidatedMs: time('serveInvalidatedWhileRevalidate', 0),
    },
    inGrace: { expiredMs: time('grace', 0), invalidatedMs: time('serveInvalidatedInGrace', 0) },
    softTimeoutMs: timeout('softTimeout'),
    hardTimeoutMs: timeout('hardTimeout'),
    eagerRefresh: share(options.eagerRefresh, `${where}: eagerRefresh`, 0.8) ?? 1,
    ttlJitter: share(options.ttlJitter, `${where}: ttlJitter`, 0.1) ?? 0,
    negativeTtlMs: options.negativeTtl === undefined || options.negativeTtl === false ? null : time('negativeTtl', 0),
  };
}

function share(given: number | false | undefined, where: string, example: number): number | undefined {
  if (given === undefined || given === false) return undefined;
  if (!(typeof given === 'number' && given > 0 && given < 1))
    throw new CacheConfigurationError(
      `${where}: ${JSON.stringify(given) ?? typeof given} is no share; write a number between 0 and 1, such as ${example}, or false for none`,
    );
  return given;
}

/**
 * Refuse what could never have its effect. To be asked where all options of a value are known.
 * @param own Those that were given for this value; what it has of its cache is cut to what `maxTtl` leaves.
 * @throws CacheConfigurationError
 */
export function checkRenewal(
  { inGrace, softTimeoutMs, hardTimeoutMs }: Renewal,
  own: RenewalOptions,
  { ttlMs, maxTtlMs, where }: { ttlMs: number; maxTtlMs: number; where: string },
): void {
  if (softTimeoutMs < Infinity && inGrace.expiredMs === 0 && inGrace.invalidatedMs === 0)
    throw new CacheConfigurationError(
      `${where}: softTimeout has nothing to serve instead; write grace: '1h' beside it, or hardTimeout in its place`,
    );
  if (softTimeoutMs < Infinity && softTimeoutMs >= hardTimeoutMs)
    throw new CacheConfigurationError(`${where}: softTimeout is not shorter than hardTimeout, and would never count`);
  const limits = [
    ['staleWhileRevalidate', ttlMs],
    ['grace', ttlMs],
    ['serveInvalidatedWhileRevalidate', 0],
    ['serveInvalidatedInGrace', 0],
    ['negativeTtl', 0],
  ] as const;
  for (const [name, beforeMs] of limits) {
    const given = own[name];
    if (given === undefined || given === false || beforeMs + ttlToMs(given) <= maxTtlMs) continue;
    throw new CacheConfigurationError(
      `${where}: ${name} ${JSON.stringify(given)}${beforeMs > 0 ? ` and the ttl of ${beforeMs / 1000} s together` : ''} are longer than maxTtl (${maxTtlMs / 1000} s), after which nothing is kept; shorten it or raise maxTtl`,
    );
  }
}

/** Whether these options say more than how long a value lives. */
export function servesOrRefreshes({
  whileRevalidating,
  inGrace,
  softTimeoutMs,
  hardTimeoutMs,
  eagerRefresh,
}: Renewal): boolean {
  return (
    keptMs(whileRevalidating, 0) + keptMs(inGrace, 0) > 0 ||
    Math.min(softTimeoutMs, hardTimeoutMs) < Infinity ||
    eagerRefresh < 1
  );
}

/** How long a value is to be kept beyond a TTL so that it can still be served. */
export function staleMs({ whileRevalidating, inGrace }: Renewal, ttlMs: number): number {
  return Math.max(keptMs(whileRevalidating, ttlMs), keptMs(inGrace, ttlMs));
}

function keptMs({ expiredMs, invalidatedMs }: StaleWindow, ttlMs: number): number {
  return Math.max(expiredMs, invalidatedMs - ttlMs, 0);
}

/** How long this very value lives. */
export function lifetimeMs(
  { ttlJitter, negativeTtlMs }: Renewal,
  ttlMs: number,
  value: unknown,
  random: () => number,
): number {
  const full = negativeTtlMs !== null && isNothing(value) ? negativeTtlMs : ttlMs;
  return full * (1 - ttlJitter * random());
}

function isNothing(value: unknown): boolean {
  if (value === null || value === undefined) return true;
  if (Array.isArray(value)) return value.length === 0;
  return (value instanceof Map || value instanceof Set) && value.size === 0;
}
