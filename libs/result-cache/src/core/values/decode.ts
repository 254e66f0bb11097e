import { UndecodableValueError } from '../errors.js';
import { type Class, type ClassRegistry } from './class-registry.js';
import { baseOf } from './intrinsics.js';
import { errorClasses, scalars, unescapeString } from './scalars.js';
import { type TypeBranch, type TypeNode } from './type-tree.js';

/**
 * Turn the texts of {@link encodeValue} back into the value.
 *
 * Classes come from `registry` only; no constructor, setter or other code of theirs runs. An own `__proto__` key is
 * plain data, as `JSON.parse` makes it, and never an object's prototype.
 *
 * @throws UndecodableValueError for anything that is not such a pair of texts, and for a class that this process has
 * neither declared nor met yet. Treat it as a miss.
 */
export function decodeValue(json: string, types: string | null, registry: ClassRegistry): unknown {
  try {
    const value: unknown = JSON.parse(json);
    return types === null ? value : new Decoder(registry).revive(value, JSON.parse(types) as TypeNode);
  } catch (error) {
    if (error instanceof UndecodableValueError) throw error;
    // Deep nesting ends here too, as a RangeError.
    throw new UndecodableValueError('A stored value is damaged or in a foreign format.', { cause: error });
  }
}

function damaged(what: string): UndecodableValueError {
  return new UndecodableValueError(`A stored value is damaged or in a foreign format: ${what}.`);
}

type Json = Record<string, unknown>;

/** Revives in place: the parsed JSON is nobody else's. `types` is data from a table, so nothing in it is believed. */
class Decoder {
  constructor(private readonly registry: ClassRegistry) {}

  revive(value: unknown, type: TypeNode): unknown {
    if (type === 'undefined') return value === null ? undefined : value;
    if (value === null) return null;
    if (typeof type === 'string') return this.#scalar(value, type);
    if (!isBranch(type)) throw damaged('a type is neither a name nor an object');
    const { k: kind } = type;
    if (kind === undefined) return Array.isArray(value) ? this.#array(value, type) : this.#object(value, type);
    if (kind === 'entries') return this.#entries(value, type);
    if (kind === 'Map') return this.#withClass(this.#map(value, type), type, 'Map');
    if (kind === 'Set') return this.#withClass(new Set(this.#list(value, type)), type, 'Set');
    if (errorClasses.has(kind)) return this.#error(value, type, kind);
    return this.#withClass(this.#scalar(value, kind) as object, type, kind);
  }

  #scalar(value: unknown, kind: string): unknown {
    const scalar = scalars.get(kind);
    if (scalar === undefined) throw damaged('an unknown type');
    if (kind === 'number' && typeof value === 'number') return value;
    if (typeof value !== 'string') throw damaged(`a ${kind} that is not written as a string`);
    return scalar.read(value);
  }

  #array(value: unknown[], type: TypeBranch): unknown {
    if (type.p !== undefined) throw damaged('an array where an object was described');
    return this.#withClass(this.#list(value, type), type, 'Array');
  }

  #object(value: unknown, type: TypeBranch): object {
    if (!isJsonObject(value)) throw damaged('a scalar where an object was described');
    if (type.a !== undefined || type.u !== undefined) throw damaged('an object where an array was described');
    return this.#withPrototype(this.#properties(value, type), type);
  }

  #properties(value: Json, { p }: TypeBranch): Json {
    if (p === undefined) return value;
    if (!isJsonObject(p)) throw damaged('types of properties that are no object');
    for (const [key, type] of Object.entries(p)) {
      // Assigning to a property it owns can neither run a setter nor reach a prototype, whatever the key.
      if (Object.hasOwn(value, key)) value[key] = this.revive(value[key], type);
    }
    return value;
  }

  #entries(value: unknown, type: TypeBranch): object {
    const object: Json = {};
    for (const [key, each] of this.#pairs(value, type)) {
      if (typeof key !== 'string') throw damaged('a key that is no string');
      define(object, unescapeString(key), each);
    }
    return this.#withPrototype(object, type);
  }

  #withPrototype(object: Json, type: TypeBranch): object {
    if (type.c === undefined) return object;
    if (type.c === null) return Object.setPrototypeOf(object, null) as object;
    const cls = this.#class(type.c, 'Object');
    if (type.o === 1) define(object, 'constructor', cls);
    return Object.setPrototypeOf(object, cls.prototype as object) as object;
  }

  #withClass<T extends object>(value: T, type: TypeBranch, base: string): T {
    if (type.c === undefined || type.c === null) return value;
    return Object.setPrototypeOf(value, this.#class(type.c, base).prototype as object) as T;
  }

  #class(name: unknown, base: string): Class {
    const cls = typeof name === 'string' ? this.registry.get(name) : undefined;
    if (cls === undefined) {
      throw new UndecodableValueError(
        'A stored value holds an instance of a class that this process has not met yet; ' +
          'declare it (classes: […]) to read such values from the start.',
      );
    }
    const found = baseOf(cls.prototype as object).name;
    if (found !== base && !(found === 'null' && base === 'Object')) throw damaged(`a class that is no kind of ${base}`);
    return cls;
  }

  #error(value: unknown, type: TypeBranch, kind: string): Error {
    if (!isJsonObject(value)) throw damaged('an error that is no object');
    const hidden: unknown = type.h ?? ['message'];
    if (!Array.isArray(hidden)) throw damaged('an error with malformed types');
    const error = new Error();
    const own = this.#properties(value, type);
    for (const key of Object.keys(own)) define(error, key, own[key], !hidden.includes(key));
    const cls = type.c === undefined ? errorClasses.get(kind)! : this.#class(type.c, kind);
    Object.setPrototypeOf(error, cls.prototype as object);
    // The place of the throw is not stored; without this line the error would name the cache as the place.
    define(error, 'stack', `${type.c ?? kind}: ${typeof own.message === 'string' ? own.message : ''}`, false);
    return error;
  }

  #map(value: unknown, type: TypeBranch): Map<unknown, unknown> {
    return new Map(this.#pairs(value, type));
  }

  #pairs(value: unknown, { m, v }: TypeBranch): [unknown, unknown][] {
    if (!Array.isArray(value) || !value.every((pair) => Array.isArray(pair) && pair.length === 2)) {
      throw damaged('pairs that are none');
    }
    const pairs = value as [unknown, unknown][];
    const keys = this.#list(
      pairs.map(([key]) => key),
      m,
    );
    const values = this.#list(
      pairs.map(([, each]) => each),
      v,
    );
    return keys.map((key, index) => [key, values[index]]);
  }

  #list(value: unknown, type: TypeNode | undefined): unknown[] {
    if (!Array.isArray(value)) throw damaged('a list that is no array');
    if (type === undefined) return value;
    if (!isBranch(type)) throw damaged('a list with malformed types');
    const { a, u, r } = type;
    if (u !== undefined) return this.#runs(value, u, r);
    if (a !== undefined) for (let index = 0; index < value.length; index++) value[index] = this.revive(value[index], a);
    return value;
  }

  #runs(value: unknown[], variants: unknown, runs: unknown): unknown[] {
    if (!Array.isArray(variants) || !Array.isArray(runs)) throw damaged('a mixed list with malformed types');
    let index = 0;
    for (let run = 0; run < runs.length; run += 2) {
      const [which, count] = [runs[run], runs[run + 1]] as [unknown, unknown];
      const variant = variants[which as number] as TypeNode | null | undefined;
      const end = Number.isInteger(count) ? index + (count as number) : NaN;
      if (variant === undefined || !(end > index && end <= value.length))
        throw damaged('a mixed list of another length');
      if (variant === null) index = end;
      else for (; index < end; index++) value[index] = this.revive(value[index], variant);
    }
    if (index !== value.length) throw damaged('a mixed list of another length');
    return value;
  }
}

function isJsonObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const isBranch = (type: unknown): type is TypeBranch => isJsonObject(type);

/** Never by assignment: `__proto__` must stay data, and no setter may run. */
function define(target: object, key: string, value: unknown, enumerable = true): void {
  Object.defineProperty(target, key, { value, enumerable, writable: true, configurable: true });
}
