import { inspect } from 'node:util';

/** Base of every error this package throws on purpose, so that one `instanceof` tells ours from yours. */
export class CacheError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** A wrong value as a message shows it: whatever it is, without running code of its own, and not at any length. */
export function shown(value: unknown): string {
  const text = typeof value === 'string' ? JSON.stringify(value) : written(value);
  return text.length <= MOST_SHOWN ? text : `${text.slice(0, MOST_SHOWN)}…`;
}

const MOST_SHOWN = 200;

function written(value: unknown): string {
  try {
    // As it would be written in a program, mostly.
    if (typeof value === 'object' && !(value instanceof Date)) return JSON.stringify(value) ?? typeof value;
  } catch {
    // It refers to itself, holds a bigint, or fails when it is asked.
  }
  return inspect(value, { depth: 1, breakLength: Infinity, customInspect: false, maxArrayLength: 5 });
}

/** An option, argument or declaration is wrong; the message says what to write instead. Thrown at the earliest moment. */
export class CacheConfigurationError extends CacheError {}

/** Tenancy is `'required'` and no tenant is known here. Nothing was read and nothing was stored. */
export class MissingTenantError extends CacheError {}

/** The tenant named by the request contradicts the verified one (a header against a token, say). */
export class TenantMismatchError extends CacheError {}

/** A value cannot be stored faithfully (a function, a cycle), or is over a limit (its size, what it depends on); it is returned to the caller uncached. */
export class UnstorableValueError extends CacheError {
  constructor(
    message: string,
    /** Short machine-readable reason, used as a counter's label. */
    readonly reason: 'too-large' | 'too-many-tags' | 'cyclic' | 'unsupported' | 'unknown-class',
  ) {
    super(message);
  }
}

/** The store understood a value and refuses it (a text it cannot encode, a limit). The others of the batch may be fine. */
export class RefusedValueError extends CacheError {}

/** A stored row cannot be turned back into a value here (foreign format, unknown class, damage). The cache treats it as a miss. */
export class UndecodableValueError extends CacheError {}

/** A value was not computed within its `hardTimeout`. Its computation goes on: a later call may find the value stored. */
export class ComputationTimeoutError extends CacheError {
  constructor(
    /** What was read: a method's name or a view. */
    readonly view: string,
    /** The limit, in milliseconds. */
    readonly timeoutMs: number,
  ) {
    super(`${view} was not computed within ${timeoutMs} ms, its hardTimeout`);
  }
}

/** The store did not answer in time. Reads do not throw it: they compute. */
export class StoreTimeoutError extends CacheError {
  constructor(ms: number) {
    super(`the cache's database did not answer within ${ms} ms`);
  }
}
