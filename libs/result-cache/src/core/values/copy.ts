import { UnstorableValueError } from '../errors.js';
import { baseOf } from './intrinsics.js';
import { errorClasses, scalars } from './scalars.js';

/** As deep as anything that can be encoded, with room to spare for what it is wrapped in. */
const MAX_DEPTH = 2000;

/**
 * An independent copy of a value, for handing one cached value to many callers: what one does to its copy, no other sees.
 *
 * Copies everything the codec can store, with prototypes; needs no registry, because the objects at hand tell their
 * classes. No constructor, setter or `toJSON` runs. As after a round trip, symbol keys are left out, accessors become
 * their values, and an object referenced twice becomes two. What has no content to copy (a function, a promise) is
 * returned as it is; such values are never cached.
 *
 * @throws UnstorableValueError (`cyclic`) for a value that contains itself.
 */
export function copyValue<T>(value: T): T {
  return (isObject(value) ? copyObject(value, 0, false) : value) as T;
}

/** The same of a value that is such a copy itself, in less time: it has no symbol keys left to look for. */
export function copyAgain<T>(value: T): T {
  return (isObject(value) ? copyObject(value, 0, true) : value) as T;
}

function copyObject(value: object, depth: number, isCopy: boolean): object {
  if (depth > MAX_DEPTH) {
    throw new UnstorableValueError('Cannot copy a value that contains itself; break the cycle.', 'cyclic');
  }
  if (Array.isArray(value)) return copyArray(value as unknown[], depth, isCopy);
  const prototype = Object.getPrototypeOf(value) as object | null;
  if (prototype === Object.prototype) {
    // Spreading is several times faster than any loop; only what it copied by reference is then replaced.
    const copy: Record<string, unknown> = { ...value };
    if (!isCopy) removeSymbols(copy);
    for (const key in copy) {
      const property = copy[key];
      if (isObject(property)) copy[key] = copyObject(property, depth + 1, isCopy);
    }
    return copy;
  }
  if (prototype === null) return Object.setPrototypeOf(copyProperties(value, depth, isCopy), null) as object;
  const { name, exact } = baseOf(prototype);
  if (name === 'Object' || name === 'null') {
    const copy = copyProperties(value, depth, isCopy);
    return exact ? copy : (Object.setPrototypeOf(copy, prototype) as object);
  }
  const copy = copyBuiltIn(value, name, depth, isCopy);
  return exact || copy === value ? copy : (Object.setPrototypeOf(copy, prototype) as object);
}

/** Own data properties in a plain object; it may get its prototype only afterwards, or a setter of it would run. */
function copyProperties(value: object, depth: number, isCopy: boolean): object {
  const copy: Record<string, unknown> = { ...value };
  if (!isCopy) removeSymbols(copy);
  for (const key of Object.keys(copy)) {
    const property = copy[key];
    if (isObject(property)) copy[key] = copyObject(property, depth + 1, isCopy);
  }
  return copy;
}

function copyArray(value: readonly unknown[], depth: number, isCopy: boolean): object {
  const prototype = Object.getPrototypeOf(value) as object | null;
  // Array.prototype.slice would call the constructor of a subclass.
  const copy = prototype === Array.prototype ? value.slice() : [...Array.prototype.values.call(value)];
  for (let index = 0; index < copy.length; index++) {
    const element = copy[index];
    if (isObject(element)) copy[index] = copyObject(element, depth + 1, isCopy);
  }
  const subclass = prototype !== null && prototype !== Array.prototype && !baseOf(prototype).exact;
  return subclass ? (Object.setPrototypeOf(copy, prototype) as object) : copy;
}

function copyBuiltIn(value: object, name: string, depth: number, isCopy: boolean): object {
  const part = (each: unknown): unknown => (isObject(each) ? copyObject(each, depth + 1, isCopy) : each);
  if (name === 'Map') {
    const copy = new Map<unknown, unknown>();
    for (const [key, each] of Map.prototype.entries.call(value)) copy.set(part(key), part(each));
    return copy;
  }
  if (name === 'Set') {
    const copy = new Set<unknown>();
    for (const member of Set.prototype.values.call(value)) copy.add(part(member));
    return copy;
  }
  if (errorClasses.has(name)) return copyError(value, name, part);
  return (scalars.get(name)?.copy(value) as object | undefined) ?? value;
}

function copyError(value: object, name: string, part: (each: unknown) => unknown): object {
  const copy = Object.setPrototypeOf(new Error(), errorClasses.get(name)!.prototype) as object;
  // `stack` is an accessor in newer versions of V8, hence by value.
  for (const key of Object.getOwnPropertyNames(value)) {
    const enumerable = Object.prototype.propertyIsEnumerable.call(value, key);
    const property = part((value as Record<string, unknown>)[key]);
    Object.defineProperty(copy, key, { value: property, enumerable, writable: true, configurable: true });
  }
  return copy;
}

function removeSymbols(copy: Record<string, unknown>): void {
  for (const symbol of Object.getOwnPropertySymbols(copy)) Reflect.deleteProperty(copy, symbol);
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}
