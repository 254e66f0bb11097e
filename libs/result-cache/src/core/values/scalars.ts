/** A type that is written as one JSON string. */
export interface Scalar {
  /** The text to store, before JSON quoting. Throws if the value only pretends to be of this type. */
  write(value: unknown): string;
  /** The value a text stands for. Throws if the text is malformed. */
  read(text: string): unknown;
  /** An independent value with the same content. */
  copy(value: unknown): unknown;
}

function scalar<T>(write: (value: T) => string, read: (text: string) => T, copy: (value: T) => T): Scalar {
  return { write, read, copy };
}

function malformed(): never {
  throw new TypeError('malformed text');
}

const invalidDate = 'Invalid Date';
const isoDate = /^(?:\d{4}|[+-]\d{6})-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
// The prototype's own methods, so that a subclass's override or an object that only inherits from it cannot answer.
const { getTime, toISOString } = Date.prototype;

const date = scalar<Date>(
  (value) => (Number.isNaN(getTime.call(value)) ? invalidDate : toISOString.call(value)),
  (text) => {
    const value = new Date(isoDate.test(text) ? text : NaN);
    return Number.isNaN(value.getTime()) === (text === invalidDate) ? value : malformed();
  },
  (value) => new Date(getTime.call(value)),
);

const regExp = scalar<RegExp>(
  (value) => (isUnqueryable(value.source) ? malformed() : `/${value.source}/${value.flags}`),
  (text) => {
    const end = text.lastIndexOf('/');
    return text.startsWith('/') && end > 0 ? new RegExp(text.slice(1, end), text.slice(end + 1)) : malformed();
  },
  (value) => new RegExp(value.source, value.flags),
);

const url = scalar<URL>(
  (value) => value.href,
  (text) => new URL(text),
  (value) => new URL(value.href),
);

const bigint = scalar<bigint>(
  (value) => value.toString(),
  (text) => (/^-?\d+$/.test(text) ? BigInt(text) : malformed()),
  (value) => value,
);

const nonFinite = new Map([NaN, Infinity, -Infinity].map((value) => [String(value), value]));
const number = scalar<number>(
  String,
  (text) => nonFinite.get(text) ?? malformed(),
  (value) => value,
);

const unqueryable = /[\p{Cs}\0]/u;
const toEscape = /[\p{Cs}\0\\]/gu;

/**
 * True if PostgreSQL would store this string inside `json` but fail on every `->>` of that row: it accepts `\u0000` and
 * lone surrogates as text and rejects them on access, also when another key was asked for.
 */
export const isUnqueryable = (text: string): boolean => unqueryable.test(text);
/** A form of any string that `->>` can read: NUL, lone surrogates and backslashes as `\uXXXX`. */
export const escapeString = (text: string): string =>
  text.replace(toEscape, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);
/** The inverse of {@link escapeString}. */
export const unescapeString = (text: string): string =>
  text.replace(/\\u([0-9a-f]{4})|\\/g, (_, code?: string) =>
    code === undefined ? malformed() : String.fromCharCode(parseInt(code, 16)),
  );

const string = scalar<string>(escapeString, unescapeString, (value) => value);

/** Bytes in memory of their own: `Buffer.from(text)` would hand out a slice of Node's shared pool. */
function fromBase64(text: string): ArrayBuffer {
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0;
  const size = (text.length / 4) * 3 - padding;
  if (!Number.isInteger(size) || text.length % 4 !== 0) malformed();
  const bytes = new ArrayBuffer(size);
  // Node skips what is not base64, so damage shows as missing bytes.
  return Buffer.from(bytes).write(text, 'base64') === size ? bytes : malformed();
}

function toBase64(view: ArrayBufferView): string {
  return Buffer.from(view.buffer, view.byteOffset, view.byteLength).toString('base64');
}

function copyBytes(view: ArrayBufferView): ArrayBuffer {
  const bytes = new ArrayBuffer(view.byteLength);
  new Uint8Array(bytes).set(new Uint8Array(view.buffer, view.byteOffset, view.byteLength));
  return bytes;
}

function view<T extends ArrayBufferView>(make: (bytes: ArrayBuffer) => T): Scalar {
  return scalar<T>(
    toBase64,
    (text) => make(fromBase64(text)),
    (value) => make(copyBytes(value)),
  );
}

const arrayBuffer = scalar<ArrayBuffer>(
  (value) => toBase64(new Uint8Array(value)),
  fromBase64,
  (value) => copyBytes(new Uint8Array(value)),
);

/** Every scalar by the name it has in `types`. A Map, so that a stored `constructor` finds nothing. */
export const scalars: ReadonlyMap<string, Scalar> = new Map<string, Scalar>([
  ['number', number],
  ['string', string],
  ['bigint', bigint],
  ['Date', date],
  ['RegExp', regExp],
  ['URL', url],
  ['ArrayBuffer', arrayBuffer],
  ['Buffer', view((bytes) => Buffer.from(bytes))],
  ['DataView', view((bytes) => new DataView(bytes))],
  ...[
    Int8Array,
    Uint8Array,
    Uint8ClampedArray,
    Int16Array,
    Uint16Array,
    Int32Array,
    Uint32Array,
    Float32Array,
    Float64Array,
    BigInt64Array,
    BigUint64Array,
  ].map((TypedArray): [string, Scalar] => [TypedArray.name, view<ArrayBufferView>((bytes) => new TypedArray(bytes))]),
]);

/** The built-in error classes by name; each is revived as itself. */
export const errorClasses: ReadonlyMap<string, { prototype: object }> = new Map<string, { prototype: object }>(
  [Error, AggregateError, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError].map((each) => [
    each.name,
    each,
  ]),
);
