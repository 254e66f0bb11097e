import { describe, expect, it } from '@jest/globals';
import { CacheConfigurationError } from '../core/errors.js';
import { toOptionalTenantId, toTenantId } from './tenant-id.js';

describe('toTenantId', () => {
  it.each([
    ['acme', 'acme'],
    ['a:b', 'a:b'],
    ['*', '*'],
    [' spaced ', ' spaced '],
    ['Zürich 🏔', 'Zürich 🏔'],
    ["'; DROP TABLE x", "'; DROP TABLE x"],
    [42, '42'],
    [0, '0'],
    [-0, '0'],
    [2n ** 70n, '1180591620717411303424'],
  ])('files %p as %p', (given, filed) => {
    expect(toTenantId(given, 'test')).toBe(filed);
  });

  it.each([
    ['nothing', undefined],
    ['null', null],
    ['an empty string', ''],
    ['a number that has lost digits', 2 ** 53],
    ['a fraction', 1.5],
    ['NaN', NaN],
    ['a boolean', true],
    ['an object', { id: 'a' }],
    ['a list', ['a']],
    ['a NUL', 'a\0b'],
    ['a lone surrogate', 'a\ud800'],
  ])('refuses %s', (_, given) => {
    expect(() => toTenantId(given, 'The claim')).toThrow(CacheConfigurationError);
    expect(() => toTenantId(given, 'The claim')).toThrow(/^The claim gave /);
  });

  it('never repeats the value in the message', () => {
    expect(() => toTenantId('hush\0', 'x')).toThrow(/^(?!.*hush)/);
    expect(() => toTenantId(['hush'], 'x')).toThrow(/^(?!.*hush)/);
  });

  it('takes undefined and null for "none", and nothing else', () => {
    expect(toOptionalTenantId(undefined, 'x')).toBeUndefined();
    expect(toOptionalTenantId(null, 'x')).toBeUndefined();
    expect(() => toOptionalTenantId('', 'x')).toThrow(CacheConfigurationError);
  });
});
