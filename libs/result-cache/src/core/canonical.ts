import { hasPrivateFields } from './private-members.js';
import { types } from 'node:util';
import { CacheConfigurationError } from './errors.js';

/** Deeper nesting than this is refused, long before the recursion would exhaust the stack. */
const MAX_DEPTH = 200;

/**
 * A value holds something that cannot be part of a cache key: a function, a cycle, an object without data of its own.
 * `path` leads to it from the value that was encoded (`['filter', 'onDone']`), `reason` completes "… is".
 */
export class UnkeyableValueError extends CacheConfigurationError {
  constructor(
    readonly path: readonly string[],
    readonly reason: string,
  ) {
    super(`${path.length > 0 ? `.${path.join('.')}` : 'the value'} is ${reason}`);
  }
}

/**
 * Writes a value as text so that two values share a text exactly when they hold the same data.
 *
 * The same data means what `util.isDeepStrictEqual` means, with these decisions:
 * - the order of object keys, Map entries and Set elements does not matter, the order of arrays does;
 * - a null-prototype object (GraphQL arguments, parsed query strings) equals the plain one;
 * - `-0` equals `0`, `NaN` equals `NaN`;
 * - a property that is `undefined` differs from an absent one: `{ ...defaults, ...options }` can tell them apart, and a
 *   second entry costs a miss where a shared one could cost a wrong answer;
 * - an instance is its class *name* plus its own enumerable data plus, when it has `toJSON`, what that returns (so
 *   `URL`, `Temporal` or a decimal count in full, and a `toJSON` that hides fields hides nothing from the key);
 * - a symbol counts when it is registered (`Symbol.for`), as in TypeORM's find operators.
 *
 * Every form starts with a character or word of its own and is closed or quoted, hence no text is two values.
 *
 * @throws UnkeyableValueError for functions, unregistered symbols, cycles, and objects whose data cannot be seen:
 *   promises, emitters, streams, requests, errors, classes with `#private` fields and no `toJSON`.
 * @example canonicalText({ b: [1n, null], a: '1' }); // {"a":"1","b":[1n,null]}
 */
export function canonicalText(value: unknown): string {
  return typeof value === 'object' && value !== null ? new Encoder().encode(value) : scalarText(value, NO_PATH);
}

/** Plain data: `{}`, `Object.create(null)`, the same from another realm, and what `querystring.parse` returns. */
export function isPlainObject(value: object): boolean {
  return isPlainPrototype(Object.getPrototypeOf(value));
}

const NO_PATH: readonly string[] = [];

function scalarText(value: unknown, path: readonly string[]): string {
  switch (typeof value) {
    case 'string':
      return JSON.stringify(value); // escapes lone surrogates and NUL, so hashing as UTF-8 loses nothing
    case 'bigint':
      return `${value}n`;
    case 'function':
      throw new UnkeyableValueError(path, 'a function');
    case 'symbol': {
      const registered = Symbol.keyFor(value);
      if (registered === undefined) throw new UnkeyableValueError(path, 'a symbol');
      return `Symbol.for(${JSON.stringify(registered)})`;
    }
    default:
      return String(value); // number, boolean, null, undefined; '0' for -0
  }
}

class Encoder {
  private readonly ancestors: object[] = [];
  /** trail[i] is the property being read in ancestors[i]; only an error ever looks at it. */
  private readonly trail: string[] = [];

  encode(value: unknown): string {
    if (typeof value === 'string') return JSON.stringify(value);
    if (typeof value !== 'object' || value === null) {
      return scalarText(value, typeof value === 'function' || typeof value === 'symbol' ? this.path() : NO_PATH);
    }
    if (this.ancestors.includes(value)) this.refuse('a cycle: it contains itself', this.ancestors.length);
    if (this.ancestors.length >= MAX_DEPTH) this.refuse(`nested deeper than ${MAX_DEPTH} levels`, MAX_DEPTH);
    const prototype = Object.getPrototypeOf(value) as object | null;
    this.ancestors.push(value);
    const text = Array.isArray(value)
      ? this.array(value, prototype)
      : isPlainPrototype(prototype)
        ? this.record(value)
        : this.instance(value, prototype as object);
    this.ancestors.pop();
    return text;
  }

  private array(value: readonly unknown[], prototype: object | null): string {
    let elements = '';
    for (let i = 0; i < value.length; i++) {
      if (i > 0) elements += ',';
      elements += i in value ? this.child(String(i), value[i]) : 'hole';
    }
    const isArray = prototype === Array.prototype || className(prototype) === 'Array';
    const extras = extraKeys(value); // RegExp.exec() and tagged templates hang properties on their arrays
    if (isArray && extras.length === 0) return `[${elements}]`;
    if (hidesData(prototype)) this.refuseInstance(prototype, HIDDEN);
    return `new ${JSON.stringify(className(prototype))}[${elements}]${this.properties(value, extras)}`;
  }

  private record(value: object, skipFunctions = false): string {
    const keys = Object.keys(value);
    const symbols = Object.getOwnPropertySymbols(value);
    return this.properties(value, keys, symbols.length === 0 ? undefined : symbols, skipFunctions);
  }

  private properties(value: object, keys: string[], symbols?: symbol[], skipFunctions = false): string {
    const source = value as Record<PropertyKey, unknown>;
    if (keys.length > 1) keys.sort();
    let text = '{';
    for (const key of keys) {
      const property = source[key];
      if (skipFunctions && typeof property === 'function') continue;
      text += `${text.length > 1 ? ',' : ''}${JSON.stringify(key)}:${this.child(key, property)}`;
    }
    if (symbols !== undefined) text += this.symbolProperties(source, symbols, skipFunctions);
    return `${text}}`;
  }

  private symbolProperties(source: Record<PropertyKey, unknown>, symbols: symbol[], skipUnregistered: boolean): string {
    const texts: string[] = [];
    for (const symbol of symbols) {
      if (!Object.prototype.propertyIsEnumerable.call(source, symbol)) continue;
      if (Symbol.keyFor(symbol) !== undefined) {
        texts.push(`|${scalarText(symbol, NO_PATH)}:${this.child(String(symbol), source[symbol])}`);
      } else if (!skipUnregistered) {
        this.refuse('an object with a property named by a symbol');
      }
    }
    return texts.sort().join('');
  }

  private instance(value: object, prototype: object): string {
    if (!Object.hasOwn(prototype, 'constructor')) this.refuse('an object that inherits from another object');
    const members = value as Record<string, unknown>;
    if (typeof members.then === 'function') this.refuseInstance(prototype, 'a promise: await it first');
    if (typeof members.on === 'function' && typeof members.emit === 'function') {
      this.refuseInstance(prototype, 'an event emitter');
    }
    const text = `new ${JSON.stringify(className(prototype))}`;
    const native = this.nativeText(value);
    const json = native === undefined ? jsonOf(value) : undefined;
    if (json === undefined && hidesData(prototype)) this.refuseInstance(prototype, HIDDEN);
    if (native !== undefined) return text + native + this.properties(value, extraKeys(value));
    // Some number libraries hang their constructor on every instance: beside a toJSON, functions are not the data.
    if (json !== undefined) return `${text}${this.record(value, true)}=${this.child('toJSON()', json.value)}`;
    if (Object.prototype.toString.call(value) !== '[object Object]') {
      this.refuseInstance(prototype, 'which shows no data of its own');
    }
    return text + this.record(value);
  }

  /** The data that built-in objects keep out of their properties. */
  private nativeText(value: object): string | undefined {
    if (types.isDate(value)) return `#date(${value.getTime()})`;
    if (types.isMap(value)) {
      const entries = [...value].map(([key, item]) => `${this.child('(key)', key)}=>${this.child('(value)', item)}`);
      return `#map(${entries.sort().join(',')})`;
    }
    if (types.isSet(value)) {
      const elements = [...value].map((item) => this.child('(element)', item));
      return `#set(${elements.sort().join(',')})`;
    }
    if (types.isRegExp(value)) {
      return `#regexp(${JSON.stringify(value.source)},${JSON.stringify(value.flags)},${value.lastIndex})`;
    }
    if (ArrayBuffer.isView(value)) return `#bytes("${base64(value.buffer, value.byteOffset, value.byteLength)}")`;
    if (types.isAnyArrayBuffer(value)) return `#bytes("${base64(value, 0, value.byteLength)}")`;
    if (types.isBoxedPrimitive(value)) return `#boxed(${this.child('valueOf()', value.valueOf())})`;
    return undefined;
  }

  private child(key: string, value: unknown): string {
    this.trail[this.ancestors.length - 1] = key;
    return this.encode(value);
  }

  private path(depth = this.ancestors.length): readonly string[] {
    return this.trail.slice(0, depth);
  }

  /** Refuses the object being written, which is already among the ancestors. */
  private refuseInstance(prototype: object | null, reason: string): never {
    this.refuse(`an instance of ${className(prototype) || 'an unnamed class'}, ${reason}`);
  }

  private refuse(reason: string, depth = this.ancestors.length - 1): never {
    throw new UnkeyableValueError(this.path(depth), reason);
  }
}

function isPlainPrototype(prototype: object | null): boolean {
  if (prototype === Object.prototype || prototype === null) return true;
  if (Object.getPrototypeOf(prototype) !== null) return false;
  return Object.hasOwn(prototype, 'constructor')
    ? className(prototype) === 'Object'
    : Reflect.ownKeys(prototype).length === 0;
}

function className(prototype: object | null): string {
  const name: unknown = (prototype as { constructor?: { name?: unknown } } | null)?.constructor?.name;
  return typeof name === 'string' ? name : '';
}

/** Own enumerable properties beside an array's elements or a view's bytes (whose indices are keys, a million for 1 MB). */
function extraKeys(value: object): string[] {
  if (ArrayBuffer.isView(value)) return [];
  const keys = Object.keys(value);
  if (!Array.isArray(value) || keys.length === 0) return keys;
  // Indices come first and in ascending order, so this says that there is nothing else and no hole.
  if (keys.at(-1) === String(keys.length - 1)) return [];
  return keys.filter((key) => !/^(?:0|[1-9]\d*)$/.test(key));
}

function jsonOf(value: object): { value: unknown } | undefined {
  const { toJSON } = value as { toJSON?: unknown };
  if (typeof toJSON !== 'function') return undefined;
  const json: unknown = toJSON.call(value);
  return json === value ? undefined : { value: json };
}

function base64(buffer: ArrayBufferLike, offset: number, length: number): string {
  return Buffer.from(buffer, offset, length).toString('base64');
}

const HIDDEN = 'which keeps data in #private fields and has no toJSON()';
const privateFields = new WeakMap<object, boolean>();

/** `#fields` are invisible to reflection, so the class's own source is the only witness there is. */
function hidesData(prototype: object | null): boolean {
  if (prototype === null || prototype === Object.prototype) return false;
  let hides = privateFields.get(prototype);
  if (hides === undefined) {
    const { constructor } = prototype as { constructor: unknown };
    const source = typeof constructor === 'function' ? Function.prototype.toString.call(constructor) : '';
    hides = hasPrivateFields(source) || hidesData(Object.getPrototypeOf(prototype) as object | null);
    privateFields.set(prototype, hides);
  }
  return hides;
}
