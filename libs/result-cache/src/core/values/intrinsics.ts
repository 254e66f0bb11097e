/** What a prototype is built on: the first prototype in its chain that JavaScript or Node itself provides. */
export interface Base {
  /** `'Object'`, `'Date'`, `'Map'`, …, or `'null'` when the chain ends without one. */
  readonly name: string;
  /** True when it is that prototype itself and not a subclass's. */
  readonly exact: boolean;
}

const nativeCode = /\{\s*\[native code\]\s*\}\s*$/;
/** Written in JavaScript inside Node, so their source does not tell. */
const nodeBuiltIns = new Map<object, string>([
  [Buffer.prototype, 'Buffer'],
  [URL.prototype, 'URL'],
]);
const known = new WeakMap<object, Base>();

/**
 * The base of a prototype. Looked up by what the chain holds and not by identity, because objects cross realms
 * (`node:vm`, a test runner's sandbox), where `Object.prototype` is another object of the same name.
 */
export function baseOf(prototype: object): Base {
  let base = known.get(prototype);
  if (base === undefined) {
    base = findBase(prototype);
    known.set(prototype, base);
  }
  return base;
}

function findBase(prototype: object): Base {
  for (let link: object | null = prototype; link !== null; link = Object.getPrototypeOf(link) as object | null) {
    const name = nodeBuiltIns.get(link) ?? nativeName(link);
    if (name !== undefined) return { name, exact: link === prototype };
  }
  return { name: 'null', exact: false };
}

function nativeName(prototype: object): string | undefined {
  const constructor: unknown = Object.getOwnPropertyDescriptor(prototype, 'constructor')?.value;
  if (typeof constructor !== 'function' || constructor.prototype !== prototype) return undefined;
  return nativeCode.test(Function.prototype.toString.call(constructor)) ? constructor.name : undefined;
}
