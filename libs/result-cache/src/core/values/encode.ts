import { UnstorableValueError } from '../errors.js';
import { type Class, type ClassRegistry } from './class-registry.js';
import { baseOf } from './intrinsics.js';
import { errorClasses, escapeString, isUnqueryable, scalars } from './scalars.js';
import { ListTypes, type TypeBranch, type TypeNode } from './type-tree.js';
import { explain, extraProperty, tooLarge, unsupported } from './unstorable.js';

export interface EncodeOptions {
  /** Classes of this value's method. Classes met in the value are learned by it, also if encoding fails later. */
  registry: ClassRegistry;
  /** Largest `bytes` to accept; `Infinity` for no limit. */
  maxBytes: number;
}

export interface EncodedValue {
  /** Readable JSON: a `Date` as its ISO string, a `bigint` as digits, a `Map` as pairs, bytes as base64. */
  json: string;
  /** Which places of `json` are more than JSON; null if none is, and then `JSON.parse(json)` is the value. */
  types: string | null;
  /** UTF-8 bytes of `json` and `types` together. */
  bytes: number;
}

/** Deeper values are refused: a reader's stack, here and in PostgreSQL, is not ours to bet on. */
const MAX_DEPTH = 1000;

/**
 * Turn a value into texts that {@link decodeValue} turns back.
 *
 * `toJSON` is never called, it would lose data. Accessors are stored as what they returned.
 *
 * @throws UnstorableValueError for a value that would not come back faithfully: functions, symbols, cycles, promises,
 * streams, instances with private members, undeclared subclasses of built-ins, anything over `maxBytes`. The message
 * says where in the value and what to return instead; `reason` is for counters. Nothing else is ever thrown.
 *
 * @example
 * encodeValue({ at: new Date(0) }, { registry: new ClassRegistry(), maxBytes: 100_000 });
 * // { json: '{"at":"1970-01-01T00:00:00.000Z"}', types: '{"p":{"at":"Date"}}', bytes: 52 }
 */
export function encodeValue(value: unknown, { registry, maxBytes }: EncodeOptions): EncodedValue {
  const encoder = new Encoder(registry, maxBytes);
  try {
    const type = encoder.write(value);
    const types = type === null ? null : JSON.stringify(type);
    const bytes = Buffer.byteLength(encoder.json) + (types === null ? 0 : Buffer.byteLength(types));
    if (bytes > maxBytes) throw tooLarge(maxBytes, bytes);
    return { json: encoder.json, types, bytes };
  } catch (error) {
    throw explain(error, encoder.around);
  }
}

/** Anything outside of this needs escaping or a closer look. */
const special = /[^ !#-[\]-\ud7ff\ue000-\uffff]/;
const arrayIndex = /^(?:0|[1-9]\d*)$/;

/** Keys as they stand in JSON. The same few come again in every row, and finding one here is cheaper than a look at it. */
const members = new Map<string, string>();
const MAX_MEMBERS = 2000;

/** A key as it stands in JSON; undefined if PostgreSQL could not read it there. */
function remember(key: string): string | undefined {
  if (isUnqueryable(key)) return undefined;
  const member = `${JSON.stringify(key)}:`;
  // Starting anew costs less than keeping track of use; keys that are data must not pile up either.
  if (members.size >= MAX_MEMBERS) members.clear();
  if (key.length <= 64) members.set(key, member);
  return member;
}

/** Writes one value. Building the text directly is what lets one walk do it all, with no `toJSON` and no copy. */
class Encoder {
  json = '';
  /** The containers around the current place, outermost first. Left as it is on a throw: it tells where. */
  readonly around: object[] = [];

  constructor(
    private readonly registry: ClassRegistry,
    private readonly maxBytes: number,
  ) {}

  /** Append a value's JSON. @returns its type, null if it is plain JSON. */
  write(value: unknown): TypeNode | null {
    switch (typeof value) {
      case 'string':
        return this.#string(value);
      case 'number':
        // String(-0) is '0', yet '-0' is valid JSON and is parsed, and kept by PostgreSQL's json, as -0.
        if (Number.isFinite(value)) this.json += Object.is(value, -0) ? '-0' : value;
        else return this.#scalar('number', value);
        return null;
      case 'boolean':
        this.json += value;
        return null;
      case 'undefined':
        this.json += 'null';
        return 'undefined';
      case 'bigint':
        return this.#scalar('bigint', value);
      case 'object':
        if (value !== null) return this.#object(value);
        this.json += 'null';
        return null;
      default:
        this.around.push(value as object);
        throw unsupported(`it is a ${typeof value}; leave it out of the result`);
    }
  }

  #string(text: string): TypeNode | null {
    if (!special.test(text)) {
      this.json += `"${text}"`;
      return null;
    }
    const unqueryable = isUnqueryable(text);
    this.json += JSON.stringify(unqueryable ? escapeString(text) : text);
    return unqueryable ? 'string' : null;
  }

  #scalar(kind: string, value: unknown): string {
    this.json += JSON.stringify(scalars.get(kind)!.write(value));
    return kind;
  }

  #object(value: object): TypeNode | null {
    const cyclic = this.around.includes(value);
    const deep = this.around.push(value) > MAX_DEPTH;
    if (cyclic) throw new UnstorableValueError('it contains itself; break the cycle or return plain data', 'cyclic');
    if (deep) throw unsupported(`it is nested deeper than ${MAX_DEPTH} levels; return a flat list`);
    if (this.json.length > this.maxBytes) throw tooLarge(this.maxBytes);
    const type = this.#container(value);
    this.around.pop();
    return type;
  }

  #container(value: object): TypeNode | null {
    const prototype = Object.getPrototypeOf(value) as object | null;
    if (Array.isArray(value)) return this.#array(value, prototype);
    if (prototype === Object.prototype) return this.#plain(value);
    if (prototype === null) return this.#properties(value, Object.keys(value), { c: null });
    const base = baseOf(prototype);
    const plainData = base.name === 'Object' || base.name === 'null';
    if (plainData) return base.exact ? this.#plain(value) : this.#instance(value, prototype);
    if (errorClasses.has(base.name)) return this.#error(value as Error, prototype);
    const branch: TypeBranch = { k: base.name };
    if (base.name === 'Map') return this.#map(value as Map<unknown, unknown>, this.#subclass(branch, value, prototype));
    if (base.name === 'Set') {
      const members = [...Set.prototype.values.call(value)];
      return Object.assign(this.#subclass(branch, value, prototype), this.#list(members));
    }
    if (!scalars.has(base.name)) throw unsupported(`it is a ${base.name}, which is not data; return what it yields`);
    if (!ArrayBuffer.isView(value)) this.#subclass(branch, value, prototype);
    else if (!base.exact) branch.c = this.#declaredName(prototype);
    // Bytes are refused before they are turned into text a third longer.
    const size = (value as Partial<ArrayBufferView>).byteLength;
    if (typeof size === 'number' && size > this.maxBytes) throw tooLarge(this.maxBytes);
    this.#scalar(base.name, value);
    return branch.c === undefined ? base.name : branch;
  }

  #plain(value: object): TypeBranch | null {
    const type = this.#properties(value, Object.keys(value), {});
    return type.p === undefined && type.k === undefined ? null : type;
  }

  #properties(value: object, keys: readonly string[], branch: TypeBranch): TypeBranch {
    const start = this.json;
    let lead = '{';
    for (const key of keys) {
      const member = members.get(key) ?? remember(key);
      if (member === undefined) {
        this.json = start;
        return this.#entries(value, keys, branch);
      }
      this.json += lead;
      this.json += member;
      lead = ',';
      const type = this.write((value as Record<string, unknown>)[key]);
      if (type !== null) (branch.p ??= Object.create(null) as Record<string, TypeNode>)[key] = type;
    }
    this.json += lead === '{' ? '{}' : '}';
    return branch;
  }

  /** An object with a key that PostgreSQL could not read: pairs of escaped key and value. */
  #entries(value: object, keys: readonly string[], branch: TypeBranch): TypeBranch {
    if (branch.h !== undefined || branch.k !== undefined) throw unsupported('it has a key that is not valid Unicode');
    const values = keys.map((key) => (value as Record<string, unknown>)[key]);
    const types = this.#pairs(keys.map(escapeString), values).v;
    return { ...branch, p: undefined, k: 'entries', ...(types && { v: types }) };
  }

  #array(value: readonly unknown[], prototype: object | null): TypeNode | null {
    const base = prototype === null ? undefined : baseOf(prototype);
    if (base?.name !== 'Array') throw unsupported('it is an array whose prototype was replaced');
    const types = this.#list(value);
    // Integer keys come first, so any other is last. Dropping `index` of a regular expression's match would be a loss.
    const lastKey = Object.keys(value).at(-1);
    if (lastKey !== undefined && !arrayIndex.test(lastKey)) throw extraProperty(lastKey);
    return base.exact ? types : { c: this.#declaredName(prototype!), ...types };
  }

  #list(items: readonly unknown[]): Pick<TypeBranch, 'a' | 'u' | 'r'> | null {
    let types: ListTypes | undefined;
    let lead = '[';
    for (let index = 0; index < items.length; index++) {
      this.json += lead;
      lead = ',';
      if (this.json.length > this.maxBytes) throw tooLarge(this.maxBytes);
      const type = this.write(items[index]);
      if (type !== null || types !== undefined) (types ??= new ListTypes(items, index)).add(index, type);
    }
    this.json += lead === '[' ? '[]' : ']';
    return types?.branch() ?? null;
  }

  #map(value: Map<unknown, unknown>, branch: TypeBranch): TypeBranch {
    const keys: unknown[] = [];
    const values: unknown[] = [];
    for (const [key, each] of Map.prototype.entries.call(value)) {
      keys.push(key);
      values.push(each);
    }
    return Object.assign(branch, this.#pairs(keys, values));
  }

  #pairs(keys: readonly unknown[], values: readonly unknown[]): Pick<TypeBranch, 'm' | 'v'> {
    const keyTypes = new ListTypes(keys, 0);
    const valueTypes = new ListTypes(values, 0);
    this.json += '[';
    for (let index = 0; index < keys.length; index++) {
      this.json += index === 0 ? '[' : ',[';
      if (this.json.length > this.maxBytes) throw tooLarge(this.maxBytes);
      keyTypes.add(index, this.write(keys[index]));
      this.json += ',';
      valueTypes.add(index, this.write(values[index]));
      this.json += ']';
    }
    this.json += ']';
    const m = keyTypes.branch();
    const v = valueTypes.branch();
    return { ...(m && { m }), ...(v && { v }) };
  }

  #error(value: Error, prototype: object): TypeBranch {
    const base = baseOf(prototype);
    const branch: TypeBranch = { k: base.name };
    if (!base.exact) branch.c = this.#className(value, prototype);
    const names = Object.getOwnPropertyNames(value).filter((name) => name !== 'stack');
    const hidden = names.filter((name) => !Object.prototype.propertyIsEnumerable.call(value, name));
    if (String(hidden) !== 'message') branch.h = hidden;
    return this.#properties(value, names, branch);
  }

  #instance(value: object, prototype: object): TypeBranch {
    const name = this.#className(value, prototype);
    const branch: TypeBranch = { c: name };
    let keys = Object.keys(value);
    if (!this.registry.isDeclared(prototype)) {
      const remedy = `declare the class (classes: [${name}]) if it may be left out, or return plain data`;
      if (keys.length === 0) throw unsupported(`it is a ${name} without enumerable properties of its own; ${remedy}`);
      if (Object.getOwnPropertyNames(value).length !== keys.length) {
        throw unsupported(`it is a ${name} with a property that is not enumerable; ${remedy}`);
      }
    }
    if (Object.hasOwn(value, 'constructor') && classOf(value, prototype) === value.constructor) {
      keys = keys.filter((key) => key !== 'constructor');
      branch.o = 1;
    }
    return this.#properties(value, keys, branch);
  }

  #className(value: object, prototype: object): string {
    return this.registry.nameOf(prototype) ?? this.registry.learn(classOf(value, prototype), prototype);
  }

  #subclass(branch: TypeBranch, value: object, prototype: object): TypeBranch {
    const [extra] = Object.keys(value);
    if (extra !== undefined) throw extraProperty(extra);
    if (!baseOf(prototype).exact) branch.c = this.#declaredName(prototype);
    return branch;
  }

  #declaredName(prototype: object): string {
    const name = this.registry.nameOf(prototype);
    if (name !== undefined) return name;
    const cls = (prototype as { constructor?: Class }).constructor?.name ?? 'class';
    throw unsupported(
      `it is a ${cls}, a subclass of ${baseOf(prototype).name}; declare it (classes: [${cls}]) if it keeps nothing ` +
        `beside its content, or return a plain ${baseOf(prototype).name}`,
    );
  }
}

/** The class of an instance; its own `constructor` first, because Decimal-like libraries put it nowhere else. */
function classOf(value: object, prototype: object): Class | undefined {
  for (const holder of [value, prototype]) {
    const constructor: unknown = Object.getOwnPropertyDescriptor(holder, 'constructor')?.value;
    if (typeof constructor === 'function' && constructor.prototype === prototype) return constructor as Class;
  }
  return undefined;
}
