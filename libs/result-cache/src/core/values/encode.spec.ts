import { EventEmitter } from 'node:events';
import { Readable } from 'node:stream';
import { describe, expect, it } from '@jest/globals';
import { UnstorableValueError } from '../errors.js';
import { ClassRegistry, decodeValue, type EncodedValue, encodeValue } from './index.js';

class Row {
  constructor(properties: object) {
    Object.assign(this, properties);
  }
}

function encode(value: unknown, registry = new ClassRegistry(), maxBytes = Infinity): EncodedValue {
  return encodeValue(value, { registry, maxBytes });
}

function refusal(value: unknown, registry?: ClassRegistry, maxBytes?: number): UnstorableValueError {
  try {
    encode(value, registry, maxBytes);
  } catch (error) {
    expect(error).toBeInstanceOf(UnstorableValueError);
    return error as UnstorableValueError;
  }
  throw new Error('was stored');
}

describe('json', () => {
  it('is exactly what JSON.stringify writes for plain JSON, and then there are no types', () => {
    const value = { a: 1, b: [true, null, 'ü "\n'], c: { '': -1.5e-7 }, '"': [], d: {} };
    expect(encode(value)).toEqual({
      json: JSON.stringify(value),
      types: null,
      bytes: Buffer.byteLength(JSON.stringify(value)),
    });
  });

  it('stays readable for SQL', () => {
    const { json } = encode({
      at: new Date(0),
      big: 12345678901234567890n,
      map: new Map([['k', new Set([1])]]),
      bytes: Buffer.from('hi'),
      url: new URL('https://example.org/'),
      pattern: /a+/i,
      row: new Row({ id: 1 }),
      missing: undefined,
      error: new Error('no'),
    });
    expect(JSON.parse(json)).toEqual({
      at: '1970-01-01T00:00:00.000Z',
      big: '12345678901234567890',
      map: [['k', [1]]],
      bytes: 'aGk=',
      url: 'https://example.org/',
      pattern: '/a+/i',
      row: { id: 1 },
      missing: null,
      error: { message: 'no' },
    });
  });

  it('never holds what PostgreSQL would store but not read', () => {
    expect(encode(['\0', 'a\ud800', { '\0': 1 }]).json).toBe('["\\\\u0000","a\\\\ud800",[["\\\\u0000",1]]]');
  });

  it('calls no toJSON', () => {
    const row = new (class Priced {
      price = 1n;
      toJSON(): string {
        return 'lost';
      }
    })();
    expect(encode(row).json).toBe('{"price":"1"}');
  });
});

describe('types', () => {
  const rows = (make: (index: number) => unknown): unknown[] => Array.from({ length: 1000 }, (_, index) => make(index));

  it.each([
    ['rows alike', rows((i) => ({ id: i, at: new Date(i) })), { a: { p: { at: 'Date' } } }],
    ['a nullable column', rows((i) => ({ at: i % 2 ? new Date(i) : null })), { a: { p: { at: 'Date' } } }],
    ['a column that begins with null', rows((i) => ({ at: i > 9 ? new Date(i) : null })), { a: { p: { at: 'Date' } } }],
    [
      'a column that is sometimes missing',
      rows((i) => (i % 3 ? {} : { at: new Date(i) })),
      { a: { p: { at: 'Date' } } },
    ],
    [
      'columns that come in turns',
      rows((i) => ({ [i % 2 ? 'a' : 'b']: 1n })),
      { a: { p: { b: 'bigint', a: 'bigint' } } },
    ],
    ['numbers with gaps', rows((i) => (i % 2 ? i : NaN)), { a: 'number' }],
    ['undefined among strings', rows((i) => ({ nick: i % 2 ? 'x' : undefined })), { a: { p: { nick: 'undefined' } } }],
    [
      'class instances',
      rows((i) => new Row({ at: i % 2 ? new Date(i) : null })),
      { a: { c: 'Row', p: { at: 'Date' } } },
    ],
    [
      'lists within rows',
      rows((i) => ({ l: i % 2 ? [] : [i, 1n] })).slice(0, 1),
      { a: { p: { l: { u: [null, 'bigint'], r: [0, 1, 1, 1] } } } },
    ],
    ['empty lists', rows((i) => ({ l: i % 2 ? [] : [1n] })), { a: { p: { l: { a: 'bigint' } } } }],
    ['a map', new Map(rows((i) => [i, new Date(i)]) as [number, Date][]), { k: 'Map', v: { a: 'Date' } }],
    ['a set of rows', new Set(rows((i) => ({ at: new Date(i) }))), { k: 'Set', a: { p: { at: 'Date' } } }],
    ['pairs', rows((i) => [`k${i}`, new Date(i)]), { a: { u: [null, 'Date'], r: [0, 1, 1, 1] } }],
  ])('merges %s', (_, value, expected) => {
    expect(JSON.parse(encode(value).types!)).toEqual(expected);
  });

  it.each([
    ['text beside dates', [{ v: new Date(0) }, { v: '1970-01-01T00:00:00.000Z' }]],
    ['text before dates', [{ v: '1970-01-01T00:00:00.000Z' }, { v: null }, { v: new Date(0) }]],
    ['digits beside bigints', [1n, '1', 1n]],
    ['null beside undefined', [null, undefined, null]],
    ['arrays beside objects', [[1n], { 0: 1n }, { p: [1n] }]],
    ['plain objects beside instances', [{ at: null }, new Row({ at: new Date(0) }), { at: '' }]],
    ['maps whose values differ', [new Map([[1, 'x']]), new Map([[1, 1n]]), new Map()]],
    ['the word NaN beside NaN', [{ v: NaN }, { v: 'NaN' }]],
    ['backslashes beside strings that need escaping', ['\0', '\\u0000', 'x', null]],
  ])('keeps %s apart', (_, value) => {
    const registry = new ClassRegistry();
    const { json, types } = encode(value, registry);
    expect(decodeValue(json, types, registry)).toStrictEqual(value);
  });

  it('groups a list of several kinds by kind', () => {
    const { types } = encode([new Date(0), new Date(1), 'x', 'y', new Date(2)]);
    expect(JSON.parse(types!)).toEqual({ u: ['Date', null], r: [0, 2, 1, 2, 0, 1] });
  });

  it('gives up merging, not faithfulness, when every row brings keys of its own', () => {
    const registry = new ClassRegistry();
    const value = Array.from({ length: 3000 }, (_, index) => ({ [`k${index}`]: BigInt(index) }));
    const { json, types } = encode(value, registry);
    expect(JSON.parse(types!)).toHaveProperty('u');
    expect(types!.length).toBeLessThan(json.length * 2);
    expect(decodeValue(json, types, registry)).toEqual(value);
  });
});

describe('what cannot be stored faithfully', () => {
  class Secret {
    #code = 1;
    name = 'x';
    reveal(): number {
      return this.#code;
    }
  }
  class Heir extends Secret {
    own = 1;
  }
  class Downlevelled {
    name = 'x';
    reveal(): unknown {
      const __classPrivateFieldGet = (...args: unknown[]): unknown => args;
      return __classPrivateFieldGet(this, 'f');
    }
  }
  class Empty {}
  class Hidden {
    shown = 1;
    constructor() {
      Object.defineProperty(this, 'hidden', { value: 1 });
    }
  }
  class Query {
    sql = 'select';
    then(): void {}
  }
  class Tags extends Array<string> {}
  class Index extends Map<string, string> {}

  it.each([
    ['a function', { on: { click: () => 1 } }, 'unsupported', 'at .on.click: it is a function'],
    ['a symbol', [1, Symbol('s')], 'unsupported', 'at [1]: it is a symbol'],
    ['a promise', { later: Promise.resolve(1) }, 'unsupported', 'at .later: it is a Promise'],
    ['a WeakMap', new WeakMap(), 'unsupported', 'it is a WeakMap'],
    ['a generator', (function* () {})(), 'unsupported', 'belongs to no class'],
    ['a boxed string', Object('x'), 'unsupported', 'it is a String'],
    ['a stream', { body: Readable.from([]) }, 'unsupported', 'Readable is a stream'],
    ['a thenable', new Query(), 'unsupported', 'has yet to run'],
    ['an event emitter with listeners', new EventEmitter().on('x', () => 1), 'unsupported', 'it is a function'],
    ['private members', new Secret(), 'unsupported', 'Secret has private members'],
    ['inherited private members', new Heir(), 'unsupported', 'Heir has private members'],
    ['private members compiled away', new Downlevelled(), 'unsupported', 'Downlevelled has private members'],
    ['URLSearchParams', new URLSearchParams('a=1'), 'unsupported', 'URLSearchParams has private members'],
    ['an instance without properties', new Empty(), 'unsupported', 'declare the class (classes: [Empty])'],
    ['an instance with a hidden property', new Hidden(), 'unsupported', 'not enumerable'],
    ['a class without a name', new (class {})(), 'unknown-class', 'its class has no name'],
    [
      'an undeclared subclass of Array',
      { tags: Tags.of('a') },
      'unsupported',
      'at .tags: it is a Tags, a subclass of Array',
    ],
    ['an undeclared subclass of Map', new Index(), 'unsupported', 'classes: [Index]'],
    ['an object that only inherits from Date', Object.create(Date.prototype), 'unsupported', 'TypeError'],
    ['an object made from an object', Object.create({ a: 1 }), 'unsupported', 'belongs to no class'],
    ['a match of a regular expression', /(b)/.exec('abc'), 'unsupported', 'a property of its own, groups'],
    ['a Map with a property', Object.assign(new Map(), { size2: 1 }), 'unsupported', 'size2'],
    ['an array in disguise', Object.setPrototypeOf([1], null), 'unsupported', 'prototype was replaced'],
  ])('%s', (_, value, reason, message) => {
    const error = refusal(value);
    expect(error.message).toContain(message);
    expect(error.reason).toBe(reason);
  });

  it('cycles, through whatever they go', () => {
    const node: Record<string, unknown> = { list: [new Map()] };
    ((node.list as unknown[])[0] as Map<unknown, unknown>).set('self', node);
    expect(refusal(node)).toMatchObject({
      reason: 'cyclic',
      message: 'Cannot cache the result at .list[0]<entry>: it contains itself; break the cycle or return plain data.',
    });
  });

  it('proxies and accessors that throw, without quoting what they threw', () => {
    const fail = (error: unknown) => (): never => {
      throw error;
    };
    const proxy = new Proxy({}, { ownKeys: fail(new RangeError('secret')) });
    const accessor = Object.defineProperty({}, 'name', { get: fail('secret'), enumerable: true });
    expect(refusal({ proxy }).message).toBe('Cannot cache the result at .proxy: reading it threw a RangeError.');
    expect(refusal(accessor).message).toBe('Cannot cache the result: reading it threw something that is no error.');
  });

  it('names properties, but no keys that may be data', () => {
    expect(refusal({ users: { 'ada@example.org': () => 1 } }).message).toContain('at .users.…: it is a function');
  });

  it('depth that would exhaust a stack', () => {
    let value: unknown = null;
    for (let depth = 0; depth < 100_000; depth++) value = { value };
    expect(refusal(value)).toMatchObject({ reason: 'unsupported' });
  });

  it('takes a declared class at its word', () => {
    const registry = new ClassRegistry([Secret, Empty, Hidden]);
    const { json, types } = encode([new Secret(), new Empty(), new Hidden()], registry);
    expect(decodeValue(json, types, registry)).toEqual([{ name: 'x' }, {}, { shown: 1 }]);
  });

  it('is not put off by hash signs that are no private members, nor by static ones', () => {
    class Palette {
      static #count = 0;
      // issue #12
      colour = '#fff';
      label = `#one "two" #three`;
      touch(): number {
        return ++Palette.#count;
      }
    }
    expect(encode(new Palette()).types).toBe('{"c":"Palette"}');
  });
});

describe('the size limit', () => {
  it('counts the UTF-8 bytes of both texts, and admits exactly the limit', () => {
    const value = { s: 'ü€😀', at: new Date(0) };
    const { json, types, bytes } = encode(value);
    expect(bytes).toBe(Buffer.byteLength(json) + Buffer.byteLength(types!));
    expect(encode(value, undefined, bytes).bytes).toBe(bytes);
    expect(refusal(value, undefined, bytes - 1)).toMatchObject({
      reason: 'too-large',
      message: `Cannot cache the result: it needs ${bytes} bytes, and at most ${bytes - 1} bytes are cached; return less, or raise maxValueBytes.`,
    });
  });

  it('stops reading once it is over', () => {
    let read = 0;
    const row = {
      get text(): string {
        read++;
        return 'x'.repeat(1000);
      },
    };
    expect(refusal(new Array(10_000).fill(row), undefined, 10_000).reason).toBe('too-large');
    expect(read).toBeLessThan(20);
    // Told by its own size, before it was made into text.
    expect(refusal(Buffer.alloc(1_000_000), undefined, 10_000).message).toContain(
      'it needs more, and at most 10000 bytes',
    );
  });
});
