import { hasPrivateMembers } from '../private-members.js';
import { CacheConfigurationError, shown, UnstorableValueError } from '../errors.js';
import { baseOf } from './intrinsics.js';

/** Anything `new` could be called on, abstract or not. The codec itself never calls it. */
export type Class = abstract new (...args: never[]) => unknown;

/**
 * The classes one cached method may revive.
 *
 * Classes are declared (constructor, {@link register}) or learned from a value when it is encoded. A name found in a
 * stored row is looked up here and nowhere else; a process that has not met the class yet treats the row as a miss.
 *
 * Declaring a class is needed for subclasses of `Array`, `Map`, `Set`, `Date` and other built-ins, and it overrides the
 * codec's doubts (private members, no enumerable properties): you then vouch that
 * `Object.create(Class.prototype)` plus own data properties makes a working instance, because no constructor is run.
 *
 * @example
 * const registry = new ClassRegistry([User, Money]);
 */
export class ClassRegistry {
  readonly #classes = new Map<string, Class>();
  readonly #names = new Map<object, string>();
  readonly #declared = new Set<object>();

  /** @throws CacheConfigurationError as {@link register} does. */
  constructor(classes: Iterable<Class> = []) {
    for (const each of classes) this.register(each);
  }

  /**
   * Declare a class. Built-ins (`Date`, `Map`, …) may be listed and need not be.
   * @throws CacheConfigurationError if it is no class, has no name, or another class of that name is known already.
   */
  register(cls: Class): void {
    const prototype: unknown = typeof cls === 'function' ? cls.prototype : undefined;
    if (typeof prototype !== 'object' || prototype === null) {
      const got = typeof cls === 'function' ? `the function "${cls.name}"` : shown(cls);
      throw new CacheConfigurationError(
        `classes: expected classes, got ${got}. Write the class itself, for example classes: [User]; ` +
          `undefined here usually means a circular import.`,
      );
    }
    if (baseOf(prototype).exact) return;
    if (typeof cls.name !== 'string' || cls.name === '') {
      throw new CacheConfigurationError(
        'classes: a class has no name, and rows refer to classes by name. Write class Money {…} or give it a static name.',
      );
    }
    if (!this.#add(cls, prototype)) {
      throw new CacheConfigurationError(
        `classes: two different classes are named "${cls.name}", so a stored row could revive as the wrong one. ` +
          `Rename one, or return only one of them from this method.`,
      );
    }
    this.#declared.add(prototype);
  }

  /** The name a prototype's class is stored under; undefined if the class is neither declared nor learned. */
  nameOf(prototype: object): string | undefined {
    return this.#names.get(prototype);
  }

  /** The class stored under this name; undefined if this registry does not know it. */
  get(name: string): Class | undefined {
    return this.#classes.get(name);
  }

  /** True if the class of this prototype was declared and not merely learned. */
  isDeclared(prototype: object): boolean {
    return this.#declared.has(prototype);
  }

  /**
   * Learn the class of a value that is being encoded.
   * @returns the name it is stored under.
   * @throws UnstorableValueError if instances of it could not be revived faithfully.
   */
  learn(cls: Class | undefined, prototype: object): string {
    const known = this.#names.get(prototype);
    if (known !== undefined) return known;
    if (cls === undefined) {
      throw new UnstorableValueError('its prototype belongs to no class; return plain data', 'unsupported');
    }
    if (typeof cls.name !== 'string' || cls.name === '') {
      throw new UnstorableValueError('its class has no name; name the class', 'unknown-class');
    }
    const doubt = doubtAbout(prototype);
    if (doubt !== undefined) {
      throw new UnstorableValueError(
        `${cls.name} ${doubt}; return plain data, or declare it (classes: [${cls.name}]) if its own properties are all it needs`,
        'unsupported',
      );
    }
    if (!this.#add(cls, prototype)) {
      throw new UnstorableValueError(
        `this method also returned another class named ${cls.name}; rename one, or declare the class to cache`,
        'unknown-class',
      );
    }
    return cls.name;
  }

  #add(cls: Class, prototype: object): boolean {
    const holder = this.#classes.get(cls.name);
    // Decimal.clone() and its like share one prototype among several constructors: the same class to us.
    if (holder !== undefined && holder.prototype !== prototype) return false;
    if (holder === undefined) this.#classes.set(cls.name, cls);
    this.#names.set(prototype, cls.name);
    return true;
  }
}

/** Members whose presence means a handle on something going on, not data. */
const handles: readonly (readonly [string | symbol, string])[] = [
  ['then', 'is a promise or query that has yet to run'],
  ['pipe', 'is a stream'],
  ['getReader', 'is a stream'],
  [Symbol.asyncIterator, 'is an asynchronous iterator'],
];

/** Why `Object.create(prototype)` plus own properties would not make a working instance; undefined if nothing speaks against it. */
function doubtAbout(prototype: object): string | undefined {
  for (const [member, reason] of handles) if (member in prototype) return reason;
  for (let link: object | null = prototype; link !== null; link = Object.getPrototypeOf(link) as object | null) {
    if (baseOf(link).exact) return undefined;
    const constructor: unknown = Object.getOwnPropertyDescriptor(link, 'constructor')?.value;
    if (typeof constructor === 'function' && hasPrivateMembers(Function.prototype.toString.call(constructor))) {
      return 'has private members, which no one outside the class can read';
    }
  }
  return undefined;
}
