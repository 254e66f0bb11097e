import { describe, expect, it } from '@jest/globals';
import { UnstorableValueError } from '../errors.js';
import { copyValue } from './index.js';

class User {
  friends: User[] = [];
  #secret = 1;
  set loud(_: string) {
    throw new Error('setters must not run');
  }
  secret(): number {
    return this.#secret;
  }
}

// That every type is copied and nothing is shared is a property in round-trip.spec.ts.
describe('copyValue', () => {
  it('isolates callers from each other', () => {
    const cached = {
      list: [new Date(0)],
      map: new Map([['k', { n: 1 }]]),
      bytes: Buffer.from('abc'),
      at: new URL('http://a/'),
    };
    const mine = copyValue(cached);
    mine.list[0]!.setTime(1);
    mine.list.push(new Date(2));
    mine.map.get('k')!.n = 2;
    mine.bytes.fill(0);
    mine.at.pathname = '/x';
    expect(cached).toEqual({
      list: [new Date(0)],
      map: new Map([['k', { n: 1 }]]),
      bytes: Buffer.from('abc'),
      at: new URL('http://a/'),
    });
  });

  it('returns what cannot change as it is', () => {
    const act = (): void => {};
    for (const value of [1, 'x', null, undefined, 1n, NaN, act]) expect(copyValue(value)).toBe(value);
  });

  it('thaws: a copy is the caller’s own', () => {
    const copy = copyValue(Object.freeze({ a: Object.freeze([1]) as number[] }));
    copy.a.push(2);
    expect(copy).toEqual({ a: [1, 2] });
  });

  it('keeps classes and runs none of their code', () => {
    const user = new User();
    user.friends.push(new User());
    Object.defineProperty(user, 'loud', { value: 'own', enumerable: true });
    const copy = copyValue(user);
    expect(copy).toBeInstanceOf(User);
    expect(copy.friends[0]).toBeInstanceOf(User);
    expect(copy.friends[0]).not.toBe(user.friends[0]);
    expect(Object.getOwnPropertyDescriptor(copy, 'loud')?.value).toBe('own');
  });

  it('keeps the stack of an error, which never leaves this process', () => {
    const error = Object.assign(new TypeError('no', { cause: { at: new Date(0) } }), { code: 'E' });
    const copy = copyValue(error);
    expect(copy).toEqual(error);
    expect(copy.stack).toBe(error.stack);
    expect(copy.cause).not.toBe(error.cause);
    expect(Object.keys(copy)).toEqual(['code']);
  });

  it('treats an own __proto__ as data', () => {
    const copy = copyValue(JSON.parse('{"__proto__":{"polluted":[1]}}') as Record<string, unknown>);
    expect(Object.hasOwn(copy, '__proto__')).toBe(true);
    expect(copy.polluted).toBeUndefined();
    expect(Object.getPrototypeOf(copy)).toBe(Object.prototype);
  });

  it('shares nothing through symbol keys either', () => {
    expect(Object.getOwnPropertySymbols(copyValue({ [Symbol('shared')]: {} }))).toEqual([]);
  });

  it('refuses a cycle instead of running out of stack', () => {
    const cyclic: unknown[] = [];
    cyclic.push({ cyclic });
    expect(() => copyValue(cyclic)).toThrow(UnstorableValueError);
  });
});
