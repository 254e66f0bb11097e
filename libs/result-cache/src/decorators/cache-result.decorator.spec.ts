/* eslint-disable @typescript-eslint/no-unused-vars -- the parameters are the subject */
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { Get, Injectable, Logger, Param, SetMetadata, UseGuards } from '@nestjs/common';
import { GUARDS_METADATA, METHOD_METADATA, PATH_METADATA } from '@nestjs/common/constants.js';
import { Test } from '@nestjs/testing';
import { CacheConfigurationError } from '../core/errors.js';
import { CacheResult, InvalidatesDomain, type CacheResultOptions } from './index.js';

const guard = { canActivate: () => true };
const documented = SetMetadata('swagger/apiResponse', { 200: { description: 'the user' } });

class Users {
  @documented
  @UseGuards(guard)
  @Get('above/:id')
  @CacheResult({ domains: ['user'] })
  async above(@Param('id') _id: string, _limit = 10): Promise<string> {
    return 'above';
  }

  @CacheResult({ domains: ['user'] })
  @InvalidatesDomain('user')
  @documented
  @UseGuards(guard)
  @Get('below/:id')
  async below(@Param('id') _id: string, _limit = 10): Promise<string> {
    return 'below';
  }
}

describe('a decorated method', () => {
  it.each(['above', 'below'] as const)('has all metadata of the decorators that stand %s', (name) => {
    const method = Users.prototype[name];
    expect(Reflect.getMetadata(PATH_METADATA, method)).toBe(`${name}/:id`);
    expect(Reflect.getMetadata(METHOD_METADATA, method)).toBe(0);
    expect(Reflect.getMetadata(GUARDS_METADATA, method)).toEqual([guard]);
    expect(Reflect.getMetadata('swagger/apiResponse', method)).toEqual({ 200: { description: 'the user' } });
    expect(Reflect.getMetadata('design:returntype', Users.prototype, name)).toBe(Promise);
  });

  it.each(['above', 'below'] as const)('keeps name and length of %s', (name) => {
    const { name: kept, length } = Users.prototype[name];
    expect({ kept, length }).toEqual({ kept: name, length: 1 });
  });

  it('stays an ordinary method of the prototype', () => {
    const { writable, enumerable, configurable } = Object.getOwnPropertyDescriptor(Users.prototype, 'above')!;
    expect({ writable, enumerable, configurable }).toEqual({ writable: true, enumerable: false, configurable: true });
    expect(JSON.stringify(new Users())).toBe('{}');
    expect(Object.keys(new Users())).toEqual([]);
  });
});

describe('without the module', () => {
  let warn: jest.SpiedFunction<typeof Logger.prototype.warn>;
  beforeEach(() => {
    warn = jest.spyOn(Logger.prototype, 'warn').mockImplementation(() => undefined);
  });
  afterEach(() => warn.mockRestore());

  function counted() {
    @Injectable()
    class Counter {
      calls = 0;

      @CacheResult({ domains: ['user'] })
      async next(step: number): Promise<number> {
        return (this.calls += step);
      }

      @InvalidatesDomain('user')
      async reset(): Promise<string> {
        this.calls = 0;
        return 'reset';
      }

      @CacheResult({ domains: ['user'] })
      // A method that is not async after all.
      sync(): Promise<never> {
        throw new RangeError('at once');
      }
    }
    return Counter;
  }

  it('`new Service()` runs the method itself, and warns once a method', async () => {
    const counter = new (counted())();
    expect([await counter.next(1), await counter.next(2), await counter.reset(), counter.calls]).toEqual([
      1,
      3,
      'reset',
      0,
    ]);
    await new (counted())().sync().catch(() => undefined);
    expect(warn.mock.calls.map(([line]) => String(line).split(' ')[0])).toEqual([
      'Counter.next',
      'Counter.reset',
      'Counter.sync',
    ]);
    expect(String(warn.mock.calls[0])).toMatch(/Import CacheModule\.forRoot\(.*in a unit test, ignore this/);
  });

  it('so does a testing module that has no CacheModule', async () => {
    const Counter = counted();
    const module = await Test.createTestingModule({ providers: [Counter] }).compile();
    const counter = module.get(Counter);
    expect([await counter.next(1), await counter.next(1), await counter.next(1)]).toEqual([1, 2, 3]);
    expect(warn).toHaveBeenCalledTimes(1);
  });

  it('turns a synchronous throw into a rejection, as an async method would', async () => {
    const promise = new (counted())().sync();
    await expect(promise).rejects.toThrow(new RangeError('at once'));
  });

  it('works without an object, too', async () => {
    const { below } = Users.prototype;
    expect(await below.call(undefined as never, '1')).toBe('below');
  });
});

/** Decorate a method with options of any type, as untyped code can. */
function decorate(options: unknown): void {
  class Wrong {
    async method(): Promise<void> {}
  }
  const descriptor = Object.getOwnPropertyDescriptor(Wrong.prototype, 'method') as TypedPropertyDescriptor<
    () => Promise<void>
  >;
  CacheResult(options as CacheResultOptions)(Wrong.prototype, 'method', descriptor);
}

describe('wrong options fail at decoration', () => {
  const domains = ['user'];
  it.each<[options: unknown, message: RegExp]>([
    [undefined, /needs options; write @CacheResult\(\{ domains: \['user'\], ttl: '5m' \}\)/],
    [null, /needs options/],
    ['user', /needs options/],
    [{}, /does not say what its value depends on; write domains: \['user'\]/],
    [{ ttl: '5m' }, /does not say what its value depends on/],
    [{ domains: [] }, /does not say what its value depends on/],
    [{ domains: [], tags: [], rows: [] }, /does not say what its value depends on/],
    [{ untracked: false }, /does not say what its value depends on/],
    [{ untracked: 'yes' }, /untracked is wrong; write true or false/],
    [{ domain: ['user'] }, /there is no option 'domain'; known are .*domains/],
    [{ domains, constructor: 1 }, /lacks its options/],
    [{ domains, toString: 1 }, /there is no option 'toString'/],
    [{ domains: 'user' }, /domains must be a list: domains: \['user'\]/],
    [{ domains: [''] }, /domains holds ""; a name is a non-empty text/],
    [{ domains: [42] }, /domains holds 42; a name is a non-empty text/],
    [{ domains: ['a\0'] }, /domains holds "a\\u0000"; a name is a non-empty text/],
    [{ domains: ['\ud800'] }, /domains holds "\\ud800"; a name is a non-empty text/],
    [{ tags: 'price' }, /tags is wrong; write a list or a function/],
    [{ tags: [''] }, /tags holds ""/],
    [{ rows: {} }, /rows is wrong; write a list or a function/],
    [{ rows: [['user']] }, /rows must list a domain with column values: rows: \[\['user', \{ id: 42 \}\]\]/],
    [{ rows: [['', { id: 1 }]] }, /rows must list a domain with column values/],
    [{ rows: [['user', { id: null }]] }, /rows must list a domain with column values/],
    [{ rows: [['user', {}]] }, /rows must list a domain with column values/],
    [{ domains, ttl: -1 }, /ttl: -1 is not a time to live; write seconds \(300\)/],
    [{ domains, ttl: NaN }, /ttl: NaN is not a time to live/],
    [{ domains, ttl: Infinity }, /ttl: Infinity is not a time to live/],
    [{ domains, ttl: 'abc' }, /ttl: "abc" is not a time to live/],
    [{ domains, ttl: '5' }, /ttl: "5" is not a time to live; .*a text with a unit/],
    [{ domains, ttl: '' }, /ttl: "" is not a time to live/],
    [{ domains, ttl: {} }, /ttl: a named time to live is written \{ named: 'user_profile' \}; otherwise write seconds/],
    [{ domains, keyPrefix: '' }, /keyPrefix is wrong; write a non-empty text/],
    [{ domains, keyPrefix: 7 }, /keyPrefix is wrong/],
    [{ domains, key: 'id' }, /key is wrong; write a function of the arguments/],
    [{ domains, varyBy: { role: 'admin' } }, /varyBy is wrong; write a function/],
    [{ domains, when: true }, /when is wrong; write a function/],
    [{ domains, tenant: 'sharde' }, /tenant is wrong; write 'current', 'shared' or a function/],
    [{ domains, tenant: { id: 'acme' } }, /tenant is wrong/],
    [{ domains, tenant: null }, /tenant is wrong/],
    [{ domains, cache: '' }, /cache is wrong; write the name of a CacheModule\.forFeature/],
    [{ domains, classes: Date }, /classes is wrong; write a list of classes/],
    [{ domains, classes: [undefined] }, /classes: expected classes, got undefined.*circular import/],
  ])('%p', (options, message) => {
    const failure = failureOf(() => decorate(options));
    expect(failure).toBeInstanceOf(CacheConfigurationError);
    expect(failure.message).toMatch(message);
    expect(failure.message).not.toContain('\n');
  });

  it('and the message names the method', () => {
    expect(() => decorate({})).toThrow('@CacheResult on Wrong.method ');
  });

  it.each(['5m', '1h', 0, 0.5, 300, '100ms'])('takes the ttl %p', (ttl) => {
    expect(() => decorate({ domains, ttl })).not.toThrow();
  });
});

describe('wrong use fails at decoration', () => {
  const loose = (options?: unknown): any => CacheResult(options as CacheResultOptions);
  const good = { domains: ['user'] };

  it.each<[use: string, define: () => unknown, message: RegExp]>([
    [
      'on a static method',
      () => {
        class Wrong {
          @loose(good)
          static async all(): Promise<void> {}
        }
        return Wrong;
      },
      /@CacheResult on Wrong\.all: a static method has no injected cache; make it an instance method/,
    ],
    [
      'on a getter',
      () => {
        class Wrong {
          @loose(good)
          get all(): Promise<number> {
            return Promise.resolve(1);
          }
        }
        return Wrong;
      },
      /@CacheResult on Wrong\.all: it decorates methods only; put it on an async method/,
    ],
    [
      'on a property',
      () => {
        class Wrong {
          @loose(good)
          all = async (): Promise<number> => 1;
        }
        return Wrong;
      },
      /@CacheResult on Wrong\.all: it decorates methods only/,
    ],
    [
      'on a class',
      () => {
        @loose(good)
        class Wrong {}
        return Wrong;
      },
      /@CacheResult on Wrong: it decorates methods only/,
    ],
    [
      'on a parameter',
      () => {
        class Wrong {
          async all(@loose(good) _a: string): Promise<void> {}
        }
        return Wrong;
      },
      /@CacheResult on Wrong\.all: it decorates methods only/,
    ],
    [
      'without brackets',
      () => {
        class Wrong {
          @(CacheResult as any)
          async all(): Promise<void> {}
        }
        return Wrong;
      },
      /@CacheResult in Wrong lacks its options; write @CacheResult\(\{ domains/,
    ],
    [
      'as a standard decorator',
      () => loose(good)(async () => undefined, { kind: 'method', name: 'all' }),
      /standard decorators, which Nest does not read; set "experimentalDecorators": true/,
    ],
  ])('%s', (_use, define, message) => {
    const failure = failureOf(define);
    expect(failure).toBeInstanceOf(CacheConfigurationError);
    expect(failure.message).toMatch(message);
    expect(failure.message).not.toContain('\n');
  });
});

function failureOf(work: () => unknown): Error {
  try {
    work();
  } catch (error) {
    return error as Error;
  }
  throw new Error('nothing was thrown');
}
