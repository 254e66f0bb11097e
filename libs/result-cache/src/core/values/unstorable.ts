import { UnstorableValueError } from '../errors.js';

export function tooLarge(maxBytes: number, bytes?: number): UnstorableValueError {
  const size = bytes === undefined ? 'more' : `${bytes} bytes`;
  return new UnstorableValueError(
    `it needs ${size}, and at most ${maxBytes} bytes are cached; return less, or raise maxValueBytes`,
    'too-large',
  );
}

export function unsupported(what: string): UnstorableValueError {
  return new UnstorableValueError(what, 'unsupported');
}

/** A container with a property that its JSON has no room for. */
export function extraProperty(key: string): UnstorableValueError {
  return unsupported(
    `it has a property of its own, ${nameForMessage(key)}, beside its content; return an object instead`,
  );
}

/**
 * The error to throw for one that happened while writing: ours with the place added, or a foreign one wrapped.
 * @param around the containers around the place, outermost first, and the culprit last.
 */
export function explain(error: unknown, around: readonly unknown[]): UnstorableValueError {
  const { message, reason } =
    error instanceof UnstorableValueError ? error : unsupported(`reading it threw ${nameOfError(error)}`);
  // A size is a matter of the whole, whatever place it was noticed at.
  const place = reason === 'too-large' ? '' : placeOf(around);
  return new UnstorableValueError(`Cannot cache the result${place}: ${message}.`, reason);
}

const MAX_STEPS = 20;

/** Searched only now, so that nobody pays for it who needs no message. */
function placeOf(around: readonly unknown[]): string {
  try {
    const steps = around.slice(1, MAX_STEPS + 1).map((child, depth) => stepTo(around[depth] as object, child));
    if (around.length > MAX_STEPS + 1) steps.push('…');
    return steps.length > 0 ? ` at ${steps.join('')}` : '';
  } catch {
    return ''; // A proxy or accessor that throws must not hide the error itself.
  }
}

/** Without its message, which may quote data. */
function nameOfError(error: unknown): string {
  try {
    return error instanceof Error ? `a ${error.constructor.name}` : 'something that is no error';
  } catch {
    return 'something unreadable';
  }
}

function stepTo(parent: object, child: unknown): string {
  if (parent instanceof Map) return '<entry>';
  if (parent instanceof Set) return '<member>';
  const key = Object.keys(parent).find((each) => (parent as Record<string, unknown>)[each] === child);
  return key === undefined ? '' : Array.isArray(parent) ? `[${key}]` : `.${nameForMessage(key)}`;
}

/** Messages are logged: a key that does not look like a property's name may be somebody's data. */
function nameForMessage(key: string): string {
  return /^[\p{ID_Start}$_][\p{ID_Continue}$]{0,39}$/u.test(key) ? key : '…';
}
