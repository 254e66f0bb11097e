import { types } from 'node:util';

/**
 * What `types` says about one place of `json`: the name of a scalar (`"Date"`), or a branch for a container. Places that
 * are plain JSON are not mentioned. A `null` in `json` stands for itself under every type but `"undefined"`, so one
 * description fits a nullable column.
 */
export type TypeNode = string | TypeBranch;

/** Keys are short because every stored row carries them. */
export interface TypeBranch {
  /** Kind: `Map`, `Set`, `entries` (an object written as pairs), an error or scalar by name. Absent: what `json` shows. */
  k?: string;
  /** Class by its registered name; null for an object without prototype. */
  c?: string | null;
  /** Types of properties. A property that is missing in `json` is skipped. */
  p?: Record<string, TypeNode>;
  /** Type of every element of an array or set. */
  a?: TypeNode;
  /** Instead of `a`, where elements differ: the distinct types, null for plain … */
  u?: (TypeNode | null)[];
  /** … and which of them applies: index, count, index, count, … */
  r?: number[];
  /** Map keys, as an array's branch. */
  m?: TypeNode;
  /** Map values, or the values of `entries`, as an array's branch. */
  v?: TypeNode;
  /** Non-enumerable properties of an error; absent means only `message`. */
  h?: string[];
  /** 1: the instance holds its own class in `constructor`, as decimal.js and big.js do. */
  o?: 1;
}

/**
 * The values a type was derived from, on demand: they are needed only where one side of a merge is plain. Undefined
 * means looking would cost too much.
 */
type Samples = () => readonly unknown[] | undefined;

/**
 * One type that describes what both `a` and `b` described, or undefined if there is none.
 * Neither is changed; `a` itself comes back if it already covers `b`.
 */
export function mergeTypes(
  a: TypeNode | null,
  as: Samples,
  b: TypeNode | null,
  bs: Samples,
): TypeNode | null | undefined {
  if (a === b) return a;
  if (a === null) return passesUnder(as, b!) ? b : undefined;
  if (b === null) return passesUnder(bs, a) ? a : undefined;
  if (typeof a === 'string' || typeof b === 'string') return undefined;
  return mergeBranches(a, as, b, bs);
}

function mergeBranches(a: TypeBranch, as: Samples, b: TypeBranch, bs: Samples): TypeBranch | undefined {
  if (a.k !== b.k || a.c !== b.c || a.o !== b.o || String(a.h) !== String(b.h)) return undefined;
  if (isList(a) !== isList(b) && (a.p ?? b.p) !== undefined) return undefined;
  if (a.u !== undefined || b.u !== undefined) {
    return JSON.stringify([a.u, a.r]) === JSON.stringify([b.u, b.r]) ? a : undefined;
  }
  let merged = a;
  for (const part of ['a', 'm', 'v'] as const) {
    const before = a[part] ?? null;
    const after = mergeTypes(before, within(as, parts[part]), b[part] ?? null, within(bs, parts[part]));
    if (after === undefined) return undefined;
    if (after !== before) merged = { ...merged, [part]: after };
  }
  if (a.p === undefined && b.p === undefined) return merged;
  const properties = mergeProperties(a.p ?? none, as, b.p ?? none, bs);
  if (properties === undefined) return undefined;
  return properties === a.p ? merged : { ...merged, p: properties };
}

type Properties = Record<string, TypeNode>;
const none = Object.create(null) as Properties;

function mergeProperties(a: Properties, as: Samples, b: Properties, bs: Samples): Properties | undefined {
  let merged = a;
  const mergeOne = (key: string): boolean => {
    const before = a[key] ?? null;
    const property = (sample: unknown): readonly unknown[] => ownProperty(sample, key);
    const after = mergeTypes(before, within(as, property), b[key] ?? null, within(bs, property));
    if (after === undefined) return false;
    if (after !== before) {
      if (merged === a) merged = Object.assign(Object.create(null) as Properties, a);
      merged[key] = after!;
    }
    return true;
  };
  for (const key in b) if (!mergeOne(key)) return undefined;
  for (const key in a) if (!(key in b) && !mergeOne(key)) return undefined;
  return merged;
}

function within(samples: Samples, part: (sample: unknown) => readonly unknown[]): Samples {
  return () => samples()?.flatMap(part);
}

function ownProperty(sample: unknown, key: string): readonly unknown[] {
  return isObject(sample) && Object.hasOwn(sample, key) ? [(sample as Record<string, unknown>)[key]] : [];
}

/** What the parts of a branch describe, for each container that can have them, of whatever realm. */
const parts = {
  a: (sample: unknown): readonly unknown[] =>
    Array.isArray(sample) ? (sample as unknown[]) : types.isSet(sample) ? [...sample] : [],
  m: (sample: unknown): readonly unknown[] => (types.isMap(sample) ? [[...sample.keys()]] : []),
  v: (sample: unknown): readonly unknown[] =>
    types.isMap(sample) ? [[...sample.values()]] : isObject(sample) ? [Object.values(sample)] : [],
};

function passesUnder(samples: Samples, type: TypeNode): boolean {
  const values = samples();
  return values !== undefined && values.every((value) => passes(value, type));
}

/** True if a value that was written as plain JSON is read unchanged under this type. */
function passes(value: unknown, type: TypeNode): boolean {
  if (type === 'undefined') return value !== null;
  if (value === null) return true;
  if (type === 'number') return typeof value === 'number';
  if (type === 'string') return typeof value === 'string' && !value.includes('\\');
  if (typeof type === 'string' || type.k !== undefined || type.c !== undefined || type.u !== undefined) return false;
  if (Array.isArray(value)) return isList(type) && value.every((element) => passes(element, type.a!));
  if (!isObject(value) || type.p === undefined) return false;
  const { p } = type;
  return Object.keys(p).every((key) => ownProperty(value, key).every((property) => passes(property, p[key]!)));
}

const isList = (type: TypeBranch): boolean => type.a !== undefined || type.u !== undefined;
const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null;

/** Differing types a list may try to merge an element into; beyond it every further type stands alone. */
const MAX_TRIES = 32;
/** How often all earlier elements may be looked at again: keeps a list whose every row brings a new key linear. */
const MAX_LOOKS_BACK = 32;

/** Gathers the types of a list's elements into as few as fit them all. */
export class ListTypes {
  readonly #items: ArrayLike<unknown>;
  readonly #variants: (TypeNode | null)[] = [];
  /** Variant, count, variant, count, … of the elements so far. */
  readonly #runs: number[] = [];
  #looksBack = 0;

  /** @param plain how many elements at the start are known to be plain JSON. */
  constructor(items: ArrayLike<unknown>, plain: number) {
    this.#items = items;
    if (plain > 0) {
      this.#variants.push(null);
      this.#runs.push(0, plain);
    }
  }

  /** Element `index`, which follows the last one added, has this type. */
  add(index: number, type: TypeNode | null): void {
    const itself: Samples = () => [this.#items[index]];
    const last = this.#runs.at(-2) ?? -1;
    const tries = Math.min(this.#variants.length, MAX_TRIES);
    for (let attempt = -1; attempt < tries; attempt++) {
      const variant = attempt === -1 ? last : attempt;
      if (variant === -1 || (variant === last && attempt !== -1)) continue;
      const merged = mergeTypes(this.#variants[variant]!, () => this.#samplesOf(variant), type, itself);
      if (merged === undefined) continue;
      this.#variants[variant] = merged;
      this.#extend(variant);
      return;
    }
    this.#extend(this.#variants.push(type) - 1);
  }

  /** The list's branch; null if all of it is plain. */
  branch(): Pick<TypeBranch, 'a' | 'u' | 'r'> | null {
    if (this.#variants.length > 1) return { u: this.#variants, r: this.#runs };
    const only = this.#variants[0] ?? null;
    return only === null ? null : { a: only };
  }

  #extend(variant: number): void {
    if (this.#runs.at(-2) === variant) this.#runs[this.#runs.length - 1]! += 1;
    else this.#runs.push(variant, 1);
  }

  #samplesOf(wanted: number): unknown[] | undefined {
    if (this.#looksBack++ >= MAX_LOOKS_BACK) return undefined;
    const samples: unknown[] = [];
    let index = 0;
    for (let run = 0; run < this.#runs.length; run += 2) {
      const end = index + this.#runs[run + 1]!;
      if (this.#runs[run] !== wanted) index = end;
      else for (; index < end; index++) samples.push(this.#items[index]);
    }
    return samples;
  }
}
