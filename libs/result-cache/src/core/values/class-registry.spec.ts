import { describe, expect, it } from '@jest/globals';
import { CacheConfigurationError, UnstorableValueError } from '../errors.js';
import { type Class, ClassRegistry, encodeValue } from './index.js';

class User {
  name = 'ada';
}

function another(): { new (): { id: number } } {
  return class User {
    id = 1;
  };
}

const encode = (value: unknown, registry: ClassRegistry): unknown =>
  encodeValue(value, { registry, maxBytes: Infinity });

describe('ClassRegistry', () => {
  it('knows what was declared, by prototype and by name', () => {
    const registry = new ClassRegistry([User, User]);
    expect(registry.nameOf(User.prototype)).toBe('User');
    expect(registry.get('User')).toBe(User);
    expect(registry.get('constructor')).toBeUndefined();
    expect(registry.isDeclared(User.prototype)).toBe(true);
  });

  it('learns from values', () => {
    const registry = new ClassRegistry();
    encode([{ by: new User() }], registry);
    expect(registry.get('User')).toBe(User);
    expect(registry.isDeclared(User.prototype)).toBe(false);
  });

  it('lets built-ins be listed, and ignores them', () => {
    expect(new ClassRegistry([Date, Map, Buffer, Object]).get('Date')).toBeUndefined();
  });

  it('refuses two classes of one name when they are declared', () => {
    expect(() => new ClassRegistry([User, another()])).toThrow(CacheConfigurationError);
    const registry = new ClassRegistry();
    encode(new User(), registry);
    expect(() => registry.register(another())).toThrow(/two different classes are named "User"/);
  });

  it('leaves a value uncached, rather than failing the call, when the second one is met', () => {
    const registry = new ClassRegistry([User]);
    const value = new (another())();
    expect(() => encode(value, registry)).toThrow(UnstorableValueError);
    expect(() => encode(value, registry)).toThrow(expect.objectContaining({ reason: 'unknown-class' }));
    expect(registry.get('User')).toBe(User);
  });

  it.each([
    ['undefined', undefined, 'circular import'],
    ['an arrow function', () => 1, 'expected classes'],
    ['an instance', new User(), 'expected classes'],
    ['a class without a name', class {}, 'has no name'],
  ])('refuses %s', (_, value, message) => {
    const register = (): unknown => new ClassRegistry([value as Class]);
    expect(register).toThrow(CacheConfigurationError);
    expect(register).toThrow(message);
  });
});
