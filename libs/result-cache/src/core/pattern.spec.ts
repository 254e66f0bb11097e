import { describe, expect, it } from '@jest/globals';
import { CacheConfigurationError } from './errors.js';
import { parsePattern } from './pattern.js';

describe('parsePattern', () => {
  it.each<[pattern: string, prefix: string, like: string]>([
    ['fraiseql:t1:user:*', 'fraiseql:t1:user:', 'fraiseql:t1:user:%'],
    ['fraiseql:tenant_1:user:*', 'fraiseql:tenant_1:user:', 'fraiseql:tenant\\_1:user:%'],
    ['fraiseql:*:user:*', 'fraiseql:', 'fraiseql:%:user:%'],
    ['50%3A*', '50%3A', '50\\%3A%'],
    ['exact', 'exact', 'exact'],
    ['*', '', '%'],
    ['', '', ''],
    ['a\\*b*', 'a*b', 'a*b%'],
    ['a\\\\*', 'a\\', 'a\\\\%'],
    ['a\\b', 'a\\b', 'a\\\\b'],
    ['a\\', 'a\\', 'a\\\\'],
    ['a?[b]*', 'a?[b]', 'a?[b]%'],
    ['ü😀*', 'ü😀', 'ü😀%'],
    ['a\n*b', 'a\n', 'a\n%b'],
  ])('%j', (pattern, prefix, like) => {
    expect(parsePattern(pattern)).toMatchObject({ prefix, like });
  });

  it.each<[pattern: string, matching: string[], others: string[]]>([
    ['a:*', ['a:', 'a:b', 'a:b:c\n'], ['a', 'b:a:', '']],
    ['*:b', [':b', 'a:b', 'b:b:b'], ['b', 'a:b:']],
    ['a*a', ['aa', 'aba', 'a\na'], ['a', 'ab', '']],
    ['*b*b*', ['bb', 'abcbd'], ['b', 'abc']],
    ['a\\*', ['a*'], ['a', 'ab', 'a\\*']],
    ['a%_', ['a%_'], ['abc', 'a%']],
    ['ab*bc', ['abbc', 'abxbc'], ['abc']],
    ['*', ['', 'x'], []],
    ['', [''], ['x']],
  ])('%j in memory', (pattern, matching, others) => {
    const { matches } = parsePattern(pattern);
    expect(matching.filter((key) => !matches(key))).toEqual([]);
    expect(others.filter((key) => matches(key))).toEqual([]);
  });

  it('does not blow up on many stars', () => {
    expect(parsePattern('*a'.repeat(500) + '*b').matches('a'.repeat(10_000))).toBe(false);
  });

  it.each(['a\0*', '\ud800*'])('refuses %j, which the database cannot hold', (pattern) => {
    expect(() => parsePattern(pattern)).toThrow(CacheConfigurationError);
  });
});
