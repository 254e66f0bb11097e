import 'reflect-metadata';
import { isDeepStrictEqual, types as is } from 'node:util';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from '@jest/globals';
import { Exclude, instanceToPlain } from 'class-transformer';
import fc from 'fast-check';
import { type Class, ClassRegistry, copyAgain, copyValue, decodeValue, encodeValue } from './index.js';
import { fuzz } from '../../../../../test/support/fuzz.js';

class Point {
  constructor(
    readonly x: unknown,
    readonly y: unknown,
  ) {
    constructed++;
  }
  get sum(): number {
    return Number(this.x) + Number(this.y);
  }
  toJSON(): string {
    throw new Error('toJSON must not be called');
  }
}
let constructed = 0;

class Labelled {
  label: unknown;
  set shout(text: string) {
    this.label = text.toUpperCase();
  }
  get [Symbol.toStringTag](): string {
    return 'Labelled';
  }
}
class Masked {
  [Symbol.toStringTag] = 'Date';
  at = new Date(0);
}
class Tags extends Array<string> {}
class Index extends Map<string, unknown> {}
class Day extends Date {}
class NotFound extends Error {
  override name = 'NotFound';
  constructor(
    message: string,
    readonly code = 404,
  ) {
    super(message);
  }
}

function roundTrip(value: unknown, classes: Class[] = []): unknown {
  const registry = new ClassRegistry(classes);
  const { json, types } = encodeValue(value, { registry, maxBytes: Infinity });
  return decodeValue(json, types, registry);
}

function bare(properties: object): object {
  return Object.assign(Object.create(null) as object, properties);
}

const own = (key: string, value: unknown): object =>
  Object.defineProperty({}, key, { value, enumerable: true, writable: true, configurable: true });

function labelled(label: unknown): Labelled {
  return Object.assign(new Labelled(), { label });
}

describe('a value comes back as what it was', () => {
  const values: [string, unknown][] = [
    ['null', null],
    ['undefined', undefined],
    ['undefined in an object and an array', { a: undefined, b: [undefined, null, 1, undefined] }],
    ['numbers JSON has no form for', [NaN, Infinity, -Infinity, -0, 0, 1e21, 5e-324]],
    ['-0 alone', -0],
    ['bigint', { big: 2n ** 80n, negative: -1n, zero: 0n }],
    ['Date', new Date(0)],
    ['dates far away and invalid', [new Date(8.64e15), new Date(-8.64e15), new Date(NaN), null]],
    [
      'Map with object keys',
      new Map<unknown, unknown>([
        [{ id: 1n }, new Date(1)],
        ['a', null],
        [NaN, undefined],
      ]),
    ],
    ['empty containers', [new Map(), new Set(), {}, [], bare({}), new Uint8Array(), '']],
    ['Set', new Set<unknown>([1, '1', new Date(2), [3n]])],
    ['RegExp', [/a\/b"\\/giu, new RegExp(''), /[\s\S]*/m]],
    ['URL', new URL('https://user@example.org:8080/a?b=ü#c')],
    ['Buffer', { bytes: Buffer.from([0, 255, 128]) }],
    ['typed arrays', [new Uint8Array([1, 2]), new Float32Array([0.5, NaN]), new BigInt64Array([-1n])]],
    ['a view of a part', new Uint16Array(new ArrayBuffer(8), 2, 2).fill(7)],
    ['ArrayBuffer and DataView', [new Uint8Array([9, 8]).buffer, new DataView(new ArrayBuffer(3))]],
    ['Error', new Error('no', { cause: new TypeError('deep') })],
    ['built-in errors', [new RangeError('r'), new AggregateError([new Error('x')], 'all'), new Error()]],
    ['an error with properties', Object.assign(new Error('pg'), { code: '23505', at: new Date(3) })],
    ['a subclass of Error', new NotFound('gone', 410)],
    ['a class instance', new Point(1, 2)],
    ['class instances nested and in lists', { list: [new Point(new Point(1n, new Date(4)), [labelled(null)])] }],
    ['a class with a toStringTag', labelled('x')],
    ['a class that calls itself a Date', new Masked()],
    ['an object without prototype', { inner: bare({ at: new Date(5), toString: 1 }) }],
    [
      'awkward keys',
      { $type: 'Date', constructor: 1, prototype: 2, toJSON: 3, 'a.b': 4, '0': 5, '': 6, '👩‍🚀': 7, '"': 8 },
    ],
    [
      'awkward keys of typed values',
      Object.fromEntries(['constructor', 'k', 'c', 'a', '', '0', 'a.b'].map((k) => [k, 1n])),
    ],
    ['own __proto__', own('__proto__', { polluted: true })],
    ['own __proto__, typed', own('__proto__', new Date(6))],
    ['own __proto__ in a class instance', Object.assign(labelled(1), { list: [own('__proto__', 1n)] })],
    ['strings with escapes', ['"', '\\', '\n', '\u2028', '\u007f', '\ufeff', '😀', '\\u0000']],
    ['NUL and lone surrogates', { a: '\0', b: 'x\ud800y', c: ['\udc00', '\\\0', 'plain', 'back\\slash'] }],
    ['NUL and lone surrogates in keys', [{ '\0': 1n, b: '\\' }, bare({ '\ud800': new Date(7) }), { '\udfff\\': 1 }]],
    ['a weird key in a class instance', Object.assign(labelled(1), { '\0': 2 })],
  ];

  it.each(values)('%s', (_, value) => {
    const revived = roundTrip(value);
    expectSame(revived, value);
    expectSame(copyValue(value), value);
    expectSame(copyAgain(copyValue(value)), value);
  });

  it('revives declared subclasses of built-ins', () => {
    const value = [Tags.of('a', 'b'), new Index([['k', new Date(1)]]), new Day(5)];
    const revived = roundTrip(value, [Tags, Index, Day]) as typeof value;
    expectSame(revived, value);
    expect(revived.map((each) => each.constructor)).toEqual([Tags, Index, Day]);
    expect((revived[0] as Tags).map((tag) => tag + '!')).toBeInstanceOf(Tags);
  });

  it('runs no constructor, and leaves the prototype working', () => {
    const point = new Point(1, 2);
    const before = constructed;
    const revived = roundTrip(point) as Point;
    expect(revived.sum).toBe(3);
    expect(constructed).toBe(before);
  });

  it('runs no setter, also where one has the name of a stored property', () => {
    const revived = roundTrip(Object.defineProperty(labelled('a'), 'shout', { value: 'b', enumerable: true }));
    expect(revived).toMatchObject({ label: 'a', shout: 'b' });
  });

  it('keeps @Exclude() working', () => {
    class Account {
      name!: string;
      @Exclude() password!: string;
    }
    const account = Object.assign(new Account(), { name: 'ada', password: 'secret' });
    expect(instanceToPlain(roundTrip([account]))).toEqual([{ name: 'ada' }]);
  });

  it('keeps Decimal-like numbers, which hold their class in an own property', () => {
    const methods = {
      twice(this: { digits: number[] }) {
        return this.digits.map((digit) => digit * 2);
      },
    };
    function Decimal(this: Record<string, unknown>, digits: number[]): void {
      this.constructor = Decimal;
      this.digits = digits;
    }
    Decimal.prototype = methods;
    const value = Reflect.construct(Decimal, [[1, 2]]) as { twice(): number[]; constructor: unknown };
    const [revived] = roundTrip([value]) as [typeof value];
    expect(revived.twice()).toEqual([2, 4]);
    expect(revived.constructor).toBe(Decimal);
    expect(revived).toBeInstanceOf(Decimal);
  });

  it('takes objects of another realm for what they are', () => {
    const foreign: unknown = runInNewContext(
      `({ at: new Date(0), map: new Map([[1, new Set([2n])]]), list: [/x/g, new TypeError('t')],
          sets: [new Set(['2020']), new Set([new Date(1)])] })`,
    );
    expect(roundTrip(foreign)).toStrictEqual({
      at: new Date(0),
      map: new Map([[1, new Set([2n])]]),
      list: [/x/g, new TypeError('t')],
      sets: [new Set(['2020']), new Set([new Date(1)])],
    });
  });

  it('does not keep symbol keys, accessors, holes and stacks, as documented', () => {
    const value = Object.assign({ [Symbol('s')]: 1, list: new Array<number>(2), error: new Error('e') });
    Object.defineProperty(value, 'at', { get: () => new Date(0), enumerable: true });
    const revived = roundTrip(value) as typeof value;
    expect(Object.getOwnPropertySymbols(revived)).toEqual([]);
    expect(Object.getOwnPropertyDescriptor(revived, 'at')?.value).toEqual(new Date(0));
    expect(Object.keys(revived.list)).toEqual(['0', '1']);
    expect(revived.error.stack).toBe('Error: e');
  });

  it('takes an object referenced twice for two', () => {
    const shared = { at: new Date(0) };
    const revived = roundTrip({ a: shared, b: [shared, shared] }) as { a: object; b: object[] };
    expect(revived).toEqual({ a: shared, b: [shared, shared] });
    expect(revived.a).not.toBe(revived.b[0]);
  });

  it('gives bytes memory of their own', () => {
    const revived = roundTrip(Buffer.from('abc')) as Buffer;
    expect(revived.buffer.byteLength).toBe(3);
  });
});

describe('any value comes back as what it was', () => {
  const oddText = fc
    .array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 6 })
    .map((codes) => String.fromCharCode(...codes));
  const text = fc.oneof(
    fc.string(),
    fc.string({ unit: 'grapheme' }),
    oddText,
    fc.constantFrom(
      '__proto__',
      'constructor',
      'toJSON',
      '\\',
      '\0',
      '\ud83d',
      'Date',
      '1970-01-01T00:00:00.000Z',
      'NaN',
    ),
  );
  const error = fc
    .tuple(text, fc.constantFrom<new (message: string) => Error>(Error, TypeError, NotFound), text)
    .map(([message, ErrorClass, detail]) => Object.assign(new ErrorClass(message), { detail }));
  const leaf = fc.oneof(
    { weight: 3, arbitrary: text },
    fc.constantFrom(null, undefined, true, false, -0, NaN, /a\/b/g, new URL('http://x.org/')),
    fc.double(),
    fc.integer(),
    fc.bigInt(),
    fc.date({ noInvalidDate: false }),
    fc.uint8Array(),
    fc.float64Array(),
    fc.uint8Array().map((bytes) => Buffer.from(bytes)),
    error,
  );
  const object = (value: fc.Arbitrary<unknown>): fc.Arbitrary<object> =>
    fc
      .array(fc.tuple(text, value), { maxLength: 5 })
      .chain((entries) => fc.constantFrom(Object.fromEntries(entries), bare(Object.fromEntries(entries))));
  const { value: anyValue } = fc.letrec((tie) => {
    const each = tie('value');
    const row = fc.record(
      { id: leaf, at: fc.option(fc.date()), tag: fc.constantFrom('x', null, undefined, 1n), more: each },
      { requiredKeys: ['id'] },
    );
    return {
      value: fc.oneof(
        { depthSize: 'small', withCrossShrink: true },
        leaf,
        fc.array(each),
        fc.array(row, { maxLength: 8 }),
        fc.array(row.map((data) => Object.assign(new Labelled(), data))),
        object(each),
        fc.tuple(each, each).map(([x, y]) => new Point(x, y)),
        each.map(labelled),
        fc.array(fc.tuple(each, each), { maxLength: 5 }).map((pairs) => new Map(pairs)),
        fc.array(each, { maxLength: 5 }).map((members) => new Set(members)),
        fc.array(each, { maxLength: 3 }).map((list) => Object.setPrototypeOf([...list], Tags.prototype) as unknown),
        fc.dictionary(text, each, { maxKeys: 3 }).map((entries) => new Index(Object.entries(entries))),
      ),
    };
  });

  const registry = new ClassRegistry([Index, Tags, Point, Labelled]);

  it('through the two texts', () => {
    fuzz(
      fc.property(anyValue, (value) => {
        const { json, types, bytes } = encodeValue(value, { registry, maxBytes: Infinity });
        const revived = decodeValue(json, types, registry);
        expectSame(revived, value);
        // What PostgreSQL's json stores but refuses to look into.
        expect(json).not.toMatch(/(?<!\\)(?:\\\\)*\\u(?:0000|d[89a-f])/);
        expect(bytes).toBe(Buffer.byteLength(json + (types ?? '')));
        if (types === null) expectSame(JSON.parse(json), value);
      }),
      600,
    );
  });

  it.each([
    ['a copy', copyValue],
    ['a copy of a copy', <T>(value: T) => copyAgain(copyValue(value))],
  ])('through %s, which shares nothing with the original', (_, copied) => {
    fuzz(
      fc.property(anyValue, (value) => {
        const before = copyValue(value);
        const copy = copied(value);
        expectSame(copy, value);
        spoil(copy);
        expectSame(value, before);
      }),
      300,
    );
  });
});

function expectSame(actual: unknown, expected: unknown): void {
  expect(difference(actual, expected, 'value')).toBeNull();
}

/**
 * Where two values differ, null if nowhere. Stricter than any matcher: order of keys and entries, prototypes, -0, NaN,
 * undefined, invalid dates and hidden properties count; only the stack of an error does not.
 */
function difference(actual: unknown, expected: unknown, at: string): string | null {
  if (typeof expected !== 'object' || expected === null) return Object.is(actual, expected) ? null : at;
  if (typeof actual !== 'object' || actual === null || actual === expected) return `${at}: not a new object`;
  if (Object.getPrototypeOf(actual) !== Object.getPrototypeOf(expected)) return `${at}: another prototype`;
  if (is.isNativeError(actual) !== is.isNativeError(expected)) return `${at}: an error or none`;
  const content = [actual, expected].map(contentOf);
  if (!isDeepStrictEqual(content[0]!.scalar, content[1]!.scalar)) return `${at}: another content`;
  const keys = [actual, expected].map((each) => Object.getOwnPropertyNames(each).filter(isKept).join());
  if (!ArrayBuffer.isView(expected) && keys[0] !== keys[1]) return `${at}: keys ${keys.join(' instead of ')}`;
  for (const [index, part] of content[1]!.parts.entries()) {
    const found = difference(content[0]!.parts[index], part, `${at}[${index}]`);
    if (found !== null) return found;
  }
  return content[0]!.parts.length === content[1]!.parts.length ? null : `${at}: another size`;
}

function contentOf(value: object): { scalar?: unknown; parts: unknown[] } {
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return { scalar: value, parts: [] };
  if (value instanceof RegExp || value instanceof URL) return { scalar: String(value), parts: [] };
  if (value instanceof Date) return { scalar: value.getTime(), parts: [] };
  if (value instanceof Map) return { parts: [...value].flat() };
  if (value instanceof Set) return { parts: [...value] };
  const descriptors = Object.entries(Object.getOwnPropertyDescriptors(value)).filter(([key]) => isKept(key));
  return { parts: descriptors.flatMap(([, { value: property, enumerable }]) => [enumerable, property]) };
}

const isKept = (key: string): boolean => key !== 'stack' && key !== 'lastIndex';

/** Change everything that can be changed, all the way down. */
function spoil(value: unknown): void {
  if (typeof value !== 'object' || value === null) return;
  const inner: unknown[] =
    value instanceof Map ? [...value].flat() : value instanceof Set ? [...value] : Object.values(value);
  inner.forEach(spoil);
  if (value instanceof Map || value instanceof Set) value.clear();
  if (value instanceof Date) value.setTime(42);
  if (value instanceof URL) value.hash = 'spoiled';
  if (ArrayBuffer.isView(value)) new Uint8Array(value.buffer).fill(42);
  else Object.assign(value, { spoiled: true, message: 'spoiled' });
}
