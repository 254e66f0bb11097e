import { describe, expect, it } from '@jest/globals';
import { CacheConfigurationError } from '../core/errors.js';
import { InvalidatesDomain } from './index.js';

function decorate(...args: unknown[]): void {
  class Wrong {
    async method(): Promise<void> {}
  }
  const descriptor = Object.getOwnPropertyDescriptor(Wrong.prototype, 'method');
  (InvalidatesDomain as any)(...args)(Wrong.prototype, 'method', descriptor);
}

describe('@InvalidatesDomain refuses', () => {
  it.each<[args: unknown[], message: RegExp]>([
    [[], /names no domain; write @InvalidatesDomain\('user', 'post'\)/],
    [[{ tags: ['price'] }], /names no domain/],
    [[''], /a domain is a non-empty text, and options come last/],
    [['user', ''], /a domain is a non-empty text/],
    [[undefined], /names no domain/],
    [[null], /a domain is a non-empty text/],
    [['user', null], /a domain is a non-empty text/],
    [['user', undefined], /a domain is a non-empty text/],
    [[['user', 'post']], /names no domain/],
    [['user', { tags: ['price'] }, 'post'], /options come last/],
    [['a\0'], /domains holds "a\\u0000"; a name is a non-empty text/],
    [['user', { tag: ['price'] }], /there is no option 'tag'; known are tags, cache/],
    [['user', { tags: 'price' }], /tags must be a list: tags: \['user'\]/],
    [['user', { tags: [''] }], /tags holds ""/],
    [['user', { cache: '' }], /cache is wrong; write the name of a CacheModule\.forFeature/],
  ])('%j', (args, message) => {
    let failure: Error | undefined;
    try {
      decorate(...args);
    } catch (error) {
      failure = error as Error;
    }
    expect(failure).toBeInstanceOf(CacheConfigurationError);
    expect(failure!.message).toMatch(message);
    expect(failure!.message).toContain('@InvalidatesDomain on Wrong.method');
    expect(failure!.message).not.toContain('\n');
  });

  it('its use without brackets', () => {
    expect(() => {
      class Wrong {
        @(InvalidatesDomain as any)
        async method(): Promise<void> {}
      }
      return Wrong;
    }).toThrow("@InvalidatesDomain in Wrong lacks its domains; write @InvalidatesDomain('user')");
  });

  it('static methods', () => {
    expect(() => {
      class Wrong {
        @(InvalidatesDomain('user') as any)
        static async method(): Promise<void> {}
      }
      return Wrong;
    }).toThrow('@InvalidatesDomain on Wrong.method: a static method has no injected cache');
  });
});
