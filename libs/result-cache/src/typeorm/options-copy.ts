/**
 * A copy of find options, or of a query's parameters, that does not change with the caller's: which rows they name is
 * looked at after the query was built, and again when it is run. Objects of other classes are the same in both.
 */
export function copyOf<T>(value: T): T {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(copyOf) as T;
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype === Date.prototype) return new Date(value as unknown as Date) as T;
  if (Buffer.isBuffer(value)) return Buffer.from(value) as unknown as T;
  const isPlain = prototype === Object.prototype || prototype === null;
  if (!isPlain && !isOperator(value)) return value;
  const copy = Object.create(prototype as object | null) as T & object;
  for (const key of Reflect.ownKeys(value)) {
    const enumerable = Object.prototype.propertyIsEnumerable.call(value, key);
    // "__proto__" may be a key as any other.
    Object.defineProperty(copy, key, {
      value: copyOf((value as Record<PropertyKey, unknown>)[key]),
      enumerable,
      writable: true,
      configurable: true,
    });
  }
  return copy;
}

/** TypeORM's FindOperator, by its mark rather than its class: there may be several copies of the package. */
export interface Operator {
  readonly type: string;
  readonly value: unknown;
  readonly child?: Operator;
}

export function isOperator(value: unknown): value is Operator {
  if (typeof value !== 'object' || value === null) return false;
  const mark = (value as Record<string, unknown>)['@instanceof'];
  return mark === Symbol.for('FindOperator') || mark === Symbol.for('EqualOperator');
}
