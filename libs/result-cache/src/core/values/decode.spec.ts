import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { UndecodableValueError } from '../errors.js';
import { type Class, ClassRegistry, decodeValue, encodeValue } from './index.js';
import { fuzz } from '../../../../../test/support/fuzz.js';

class User {
  name = 'ada';
}
class Tags extends Array<string> {}

const decode = (json: string, types: unknown, classes: Class[] = []): unknown =>
  decodeValue(json, types === null ? null : JSON.stringify(types), new ClassRegistry(classes));

describe('classes', () => {
  it('come from the registry: another process needs to have declared or met them', () => {
    const here = new ClassRegistry();
    const { json, types } = encodeValue(new User(), { registry: here, maxBytes: Infinity });
    expect(decodeValue(json, types, here)).toBeInstanceOf(User);
    expect(() => decodeValue(json, types, new ClassRegistry())).toThrow(UndecodableValueError);
    const there = new ClassRegistry([User]);
    expect(decodeValue(json, types, there)).toBeInstanceOf(User);
  });

  it.each(['Function', 'Object', 'Promise', 'constructor', '__proto__', 'process', ''])(
    '%s is not looked up elsewhere',
    (c) => {
      expect(() => decode('{}', { c })).toThrow(UndecodableValueError);
      expect(() => decode('"x"', c)).toThrow(UndecodableValueError);
      expect(() => decode('"x"', { k: c })).toThrow(UndecodableValueError);
    },
  );

  it('are not put on a value of another kind', () => {
    expect(() => decode('{}', { c: 'Tags' }, [Tags])).toThrow(UndecodableValueError);
    expect(() => decode('[]', { c: 'User' }, [User])).toThrow(UndecodableValueError);
    expect(() => decode('[]', { k: 'Map', c: 'User' }, [User])).toThrow(UndecodableValueError);
  });
});

describe('__proto__', () => {
  it('is data in whatever place, and pollutes nothing', () => {
    const json = '{"__proto__":{"polluted":"1"},"a":{"constructor":{"prototype":{"polluted":"1"}}}}';
    for (const types of [null, { p: { __proto__: { p: { polluted: 'bigint' } } } }, { c: 'User' }, { c: null }]) {
      const value = decode(json, types, [User]) as Record<string, unknown>;
      expect(Object.hasOwn(value, '__proto__')).toBe(true);
      expect(value.polluted).toBeUndefined();
      expect(({} as Record<string, unknown>).polluted).toBeUndefined();
    }
  });

  it('is data as a key of pairs and of an error', () => {
    const pairs = decode('[["__proto__",{"polluted":1}]]', { k: 'entries' }) as Record<string, unknown>;
    const error = decode('{"__proto__":{"polluted":1}}', { k: 'Error', h: [] }) as Record<string, unknown>;
    for (const value of [pairs, error]) {
      expect(Object.hasOwn(value, '__proto__')).toBe(true);
      expect(value.polluted).toBeUndefined();
    }
    expect(error).toBeInstanceOf(Error);
  });

  it('of the types is only a key, too', () => {
    const value = decodeValue(
      '{"__proto__":"1","a":"2"}',
      '{"p":{"__proto__":"bigint","a":"bigint"}}',
      new ClassRegistry(),
    );
    expect(Object.entries(value as object)).toEqual([
      ['__proto__', 1n],
      ['a', 2n],
    ]);
  });
});

describe('damage is told, never guessed at', () => {
  it.each([
    ['no JSON', '{', null],
    ['an unknown type', '"x"', 'Dat'],
    ['a number for a type', '"x"', 5],
    ['a list for a type', '"x"', ['Date']],
    ['no date', '"soon"', 'Date'],
    ['a date Date would guess at', '"2020"', 'Date'],
    ['no day of any calendar', '"2020-13-01T00:00:00.000Z"', 'Date'],
    ['a number for a date', '0', 'Date'],
    ['no bigint', '"0x1f"', 'bigint'],
    ['an empty bigint', '""', 'bigint'],
    ['no number', '"1"', 'number'],
    ['no URL', '"nowhere"', 'URL'],
    ['no pattern', '"/(/"', 'RegExp'],
    ['a pattern without end', '"abc"', 'RegExp'],
    ['no base64', '"a*b="', 'Buffer'],
    ['base64 cut short', '"aGk"', 'Buffer'],
    ['bytes that do not fill an element', '"aGk="', 'Float64Array'],
    ['a stray escape', '"\\\\x"', 'string'],
    ['an object for a list', '{}', { a: 'Date' }],
    ['a list for an object', '[]', { p: { length: 'Date' } }],
    ['text for an object', '"x"', { p: {} }],
    ['an object for a map', '{}', { k: 'Map' }],
    ['no pairs', '[[1]]', { k: 'Map' }],
    ['an object for a set', '{}', { k: 'Set' }],
    ['a list for an error', '[]', { k: 'Error' }],
    ['numbers as keys', '[[1,1]]', { k: 'entries' }],
    ['runs that are too short', '[1,2]', { u: [null], r: [0, 1] }],
    ['runs that are too long', '[1]', { u: [null], r: [0, 2] }],
    ['runs that stand still', '[1]', { u: [null], r: [0, 0, 0, 1] }],
    ['runs of an unknown type', '[1]', { u: [null], r: ['length', 1] }],
    ['runs without counts', '["x"]', { u: ['bigint'], r: [0] }],
    ['no runs', '[1]', { u: [null] }],
    ['properties that are no object', '{}', { p: [] }],
  ])('%s', (_, json, types) => {
    expect(() => decode(json, types)).toThrow(UndecodableValueError);
  });

  it('null, which as a text is no type either', () => {
    expect(() => decodeValue('"x"', 'null', new ClassRegistry())).toThrow(UndecodableValueError);
  });

  it('depth that would exhaust the stack', () => {
    const deep = 100_000;
    const types = '{"a":'.repeat(deep) + '"Date"' + '}'.repeat(deep);
    const json = '['.repeat(deep) + '"x"' + ']'.repeat(deep);
    expect(() => decodeValue(json, types, new ClassRegistry())).toThrow(UndecodableValueError);
  });

  it('whatever the two texts are: a value or UndecodableValueError, and no global harmed', () => {
    const key = fc.constantFrom('k', 'c', 'p', 'a', 'u', 'r', 'm', 'v', 'h', 'o', '__proto__', 'constructor', 'x');
    const word = fc.constantFrom(
      'Date',
      'Map',
      'Set',
      'Error',
      'entries',
      'Buffer',
      'User',
      'undefined',
      '__proto__',
      'x',
    );
    const { node } = fc.letrec((tie) => ({
      node: fc.oneof(
        { depthSize: 'medium' },
        word,
        fc.constantFrom(null, 0, 1, true),
        fc.dictionary(key, tie('node')),
        fc.array(tie('node')),
      ),
    }));
    const before = Object.getOwnPropertyNames(Object.prototype);
    fuzz(
      fc.property(node, node, (value, types) => {
        try {
          decode(JSON.stringify(value), types, [User, Tags]);
        } catch (error) {
          expect(error).toBeInstanceOf(UndecodableValueError);
        }
      }),
      5_000,
    );
    expect(Object.getOwnPropertyNames(Object.prototype)).toEqual(before);
    expect(Object.getPrototypeOf(User.prototype)).toBe(Object.prototype);
  });
});
