import { EventEmitter } from 'node:events';
import { parse } from 'node:querystring';
import { PassThrough } from 'node:stream';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from '@jest/globals';
import { canonicalText, UnkeyableValueError } from './canonical.js';

class Money {
  constructor(readonly amount: number) {}
}
class Price {
  constructor(readonly amount: number) {}
}
class Secret {
  #value: number;
  constructor(value: number) {
    this.#value = value;
  }
  get double(): number {
    return this.#value * 2;
  }
}
class Hashtag {
  colour = '#fff';
  #trim(): string {
    return this.colour.trim();
  }
  text(): string {
    return this.#trim();
  }
}
class ShowingSecret extends Secret {
  toJSON(): number {
    return this.double;
  }
}
class Decimal {
  constructor(readonly digits: string) {
    Object.assign(this, { constructor: Decimal }); // as decimal.js and big.js do
  }
  toJSON(): string {
    return this.digits;
  }
}
class Account {
  constructor(
    readonly id: number,
    readonly password: string,
  ) {}
  toJSON(): object {
    return { id: this.id };
  }
}
class FindOperator {
  readonly '@instanceof' = Symbol.for('FindOperator');
  constructor(
    readonly type: string,
    readonly value: unknown,
  ) {}
}

describe('canonicalText', () => {
  it('is the text itself where there is nothing to tell apart', () => {
    expect(canonicalText({ b: [1n, null], a: '1' })).toBe('{"a":"1","b":[1n,null]}');
  });

  it.each<[string, unknown, unknown]>([
    ['key order', { a: 1, b: { c: 1, d: 2 } }, { b: { d: 2, c: 1 }, a: 1 }],
    ['null prototypes', { a: { b: 1 } }, Object.assign(Object.create(null) as object, { a: { b: 1 } })],
    ['another realm', { a: [1, {}] }, runInNewContext('({ a: [1, {}] })')],
    ['parsed query strings', { a: '1' }, parse('a=1')],
    ['Set order', new Set([1, { a: 1 }]), new Set([{ a: 1 }, 1])],
    ['Map order', new Map([[1, 'a'], [2, 'b']]), new Map([[2, 'b'], [1, 'a']])], // prettier-ignore
    ['zeros', 0, -0],
    ['views of the same bytes', Buffer.from('ab'), Buffer.from('xaby').subarray(1, 3)],
    ['shared references', [{ a: 1 }, { a: 1 }], Array<unknown>(2).fill({ a: 1 })],
    ['equal instances', new Money(1), new Money(1)],
    ['equal URLs', new URL('https://a.example'), new URL('https://a.example/')],
  ])('equal: %s', (_, a, b) => expect(canonicalText(a)).toBe(canonicalText(b)));

  it.each<[string, readonly unknown[]]>([
    ['classes and their data', [new Money(1), new Money(2), new Price(1), { amount: 1 }, new Map([['amount', 1]])]],
    ['undefined and absent', [{ a: undefined }, {}, { b: undefined }, { a: null }]],
    ['array order, holes, extras', [[1, 2], [2, 1], [1], [1, undefined], new Array(2), Object.assign(new Array(2), { 1: 1 }), /1/.exec('1'), ['1']]], // prettier-ignore
    ['dates', [new Date(0), new Date(1), new Date(NaN), 0, '1970-01-01T00:00:00.000Z']],
    [
      'maps',
      [
        new Map(),
        new Map([[1, 2]]),
        new Map([['1', 2]]),
        new Map([[2, 1]]),
        new Map([[1, 12]]),
        new Map([[11, 2]]),
        new Map([[{}, 2]]),
        new Set(),
      ],
    ],
    ['sets', [new Set([1]), new Set(['1']), new Set([[1]]), new Set([1, 2]), [1]]],
    [
      'bytes',
      [
        Buffer.from('a'),
        new Uint8Array([97]),
        new Int8Array([97]),
        new ArrayBuffer(1),
        new DataView(new ArrayBuffer(1)),
      ],
    ],
    ['regular expressions', [/a/, /a/g, /b/, '/a/', Object.assign(/a/g, { lastIndex: 1 })]],
    ['URLs', [new URL('https://a.example'), new URL('https://b.example'), 'https://a.example/']],
    ['boxes', [new Number(1), new String('1'), new Boolean(true), 1, Object(1n)]],
    ['private fields shown by toJSON', [new ShowingSecret(1), new ShowingSecret(2)]],
    ['what a toJSON hides', [new Account(1, 'a'), new Account(1, 'b')]],
    ['number libraries', [new Decimal('1.0'), new Decimal('1')]],
    ['find operators', [new FindOperator('in', [1]), new FindOperator('not', [1]), new FindOperator('in', [2])]],
    [
      'registered symbols',
      [Symbol.for('a'), Symbol.for('b'), 'a', { [Symbol.for('a')]: 1 }, { [Symbol.for('a')]: 2 }, { a: 1 }],
    ],
    ['__proto__ as data', [JSON.parse('{"__proto__":1}'), JSON.parse('{"__proto__":2}'), {}]],
    [
      'texts that look like structure',
      ['{"a":1}', { a: 1 }, { 'a":1,"b': 1 }, { a: 1, b: 1 }, '["a"]', ['a'], ['a","b'], ['a', 'b'], '"', '\\"'],
    ],
    ['lone surrogates', ['\ud800', '\ud801', '\ufffd', '\\ud800']],
    ['harmless # in a class', [new Hashtag(), Object.assign(new Hashtag(), { colour: 'red' })]],
  ])('different: %s', (_, values) => {
    expect(new Set(values.map(canonicalText)).size).toBe(values.length);
  });

  const cyclic: unknown[] = [];
  cyclic.push({ list: cyclic });
  const deep = Array.from({ length: 10_000 }).reduce<object>((inner) => ({ inner }), {});
  it.each<[string, unknown, RegExp]>([
    ['a function', () => 1, /a function/],
    ['a class', Money, /a function/],
    ['a symbol', Symbol('x'), /a symbol/],
    ['a property named by a symbol', { [Symbol('x')]: 1 }, /named by a symbol/],
    ['a cycle', cyclic, /^\.0\.list is a cycle/],
    ['bottomless nesting', deep, /deeper than 200/],
    ['an emitter', new EventEmitter(), /an event emitter/],
    ['a stream', new PassThrough(), /an event emitter/],
    ['a promise', Promise.resolve(1), /await it first/],
    ['a request', new Request('https://a.example'), /no data|symbol/],
    ['a web stream', new ReadableStream(), /no data/],
    ['a blob', new Blob(['a']), /no data/],
    ['an error', new Error('x'), /no data/],
    ['a weak map', new WeakMap(), /no data/],
    ['an iterator', [1].values(), /inherits|no data/],
    ['a generator', (function* () { yield 1; })(), /inherits|no data/], // prettier-ignore
    ['private fields', new Secret(1), /instance of Secret, which keeps data in #private fields/],
    ['inherited private fields', new (class Vault extends Secret {})(1), /#private/],
    ['a Map with private fields', new (class M extends Map { #x = 1; y() { return this.#x; } })(), /#private/], // prettier-ignore
    ['inherited data', Object.create({ a: 1 }), /inherits/],
  ])('refuses %s', (_, value, message) => {
    expect(() => canonicalText(value)).toThrow(UnkeyableValueError);
    expect(() => canonicalText(value)).toThrow(message);
  });

  it('says where', () => {
    const attempt = (value: unknown): readonly string[] => {
      try {
        canonicalText(value);
      } catch (error) {
        return (error as UnkeyableValueError).path;
      }
      return ['nothing thrown'];
    };
    expect(attempt({ a: [{}, { b: new EventEmitter() }] })).toEqual(['a', '1', 'b']);
    expect(attempt({ a: { b: 1 }, c: Symbol('x') })).toEqual(['c']);
    expect(attempt(new Map([[1, () => 1]]))).toEqual(['(value)']);
    expect(attempt(new EventEmitter())).toEqual([]);
  });
});
