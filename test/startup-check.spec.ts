import { describe, expect, it } from '@jest/globals';
import { Controller, Get, Inject, Injectable, Module, Scope, UseGuards, type Type } from '@nestjs/common';
import { ContextIdFactory, ModuleRef } from '@nestjs/core';
import { CacheConfigurationError, CacheModule, CacheResult, InvalidatesDomain } from 'nestjs-result-cache';
import { itemsWorld } from './support/items.js';
import { type NestParts } from './support/nest.js';

const world = itemsWorld();
const { start, started } = world;
const domains = ['item'];

describe('the application does not start', () => {
  const failing = async (parts: NestParts): Promise<string> => {
    const failure = await start(parts).then(
      () => undefined,
      (error: Error) => error,
    );
    expect(failure).toBeInstanceOf(CacheConfigurationError);
    expect(failure!.message).not.toContain('\n');
    return failure!.message;
  };
  const serviceNamed = (name: string, keyPrefix?: string): Type => {
    class Service {
      @CacheResult({ domains, keyPrefix })
      async all(): Promise<string> {
        return name;
      }
    }
    Object.defineProperty(Service, 'name', { value: name });
    Injectable()(Service);
    return Service;
  };

  it('with two classes of one name', async () => {
    expect(await failing({ providers: [serviceNamed('Twin'), serviceNamed('Twin')] })).toMatch(
      /another class caches under the name 'Twin\.all' too; give one of them a keyPrefix of its own/,
    );
    await start({ providers: [serviceNamed('Twin'), serviceNamed('Twin', 'twin-2')] });
  });

  it('with one keyPrefix on two classes, or one that is another’s default', async () => {
    expect(await failing({ providers: [serviceNamed('A', 'p'), serviceNamed('B', 'p')] })).toMatch(
      /another class caches under the name 'p' too/,
    );
    expect(await failing({ providers: [serviceNamed('A', 'B.all'), serviceNamed('B')] })).toMatch(/'B\.all'/);
  });

  it('with one keyPrefix on two methods', async () => {
    @Injectable()
    class Both {
      @CacheResult({ domains, keyPrefix: 'p' })
      async one(): Promise<number> {
        return 1;
      }

      @CacheResult({ domains, keyPrefix: 'p' })
      async two(): Promise<number> {
        return 2;
      }
    }
    expect(await failing({ providers: [Both] })).toMatch(/another method caches under the name 'p' too/);
  });

  it('with two decorators on one method', async () => {
    @Injectable()
    class Twice {
      @CacheResult({ domains, ttl: 1 })
      @CacheResult({ domains, ttl: 2 })
      async all(): Promise<number> {
        return 1;
      }
    }
    expect(await failing({ providers: [Twice] })).toMatch(/another method caches under the name 'Twice\.all' too/);
  });

  it('with two instances of one class, unless nothing distinguishes them', async () => {
    const message =
      /there are several instances of .* varyBy: \(\.\.\.args\) => \(\{ … \}\), or varyBy: \(\) => \(\{\}\)/;
    const Service = serviceNamed('Shared');
    @Module({ providers: [Service] })
    class Left {}
    @Module({ providers: [Service] })
    class Right {}
    expect(await failing({ imports: [Left, Right] })).toMatch(message);
    expect(await failing({ providers: [Service, { provide: 'other', useClass: Service }] })).toMatch(message);
    // An alias is the same instance.
    await start({ providers: [Service, { provide: 'alias', useExisting: Service }] });

    @Injectable()
    class Stateless {
      @CacheResult({ domains, varyBy: () => ({}) })
      async all(): Promise<number> {
        return 1;
      }
    }
    await start({ providers: [Stateless, { provide: 'other', useClass: Stateless }] });
  });

  it.each([
    ['request-scoped', Scope.REQUEST],
    ['transient', Scope.TRANSIENT],
  ])('with a %s class that does not say what varies', async (lifetime, scope) => {
    @Injectable({ scope })
    class Scoped {
      @CacheResult({ domains })
      async all(): Promise<number> {
        return 1;
      }
    }
    expect(await failing({ providers: [Scoped] })).toMatch(
      new RegExp(`@CacheResult on Scoped\\.all: Scoped is ${lifetime}, .* say what: varyBy:`),
    );
  });

  it('with a class that is request-scoped by what it injects', async () => {
    @Injectable({ scope: Scope.REQUEST })
    class CurrentUser {}
    @Controller()
    class Profile {
      constructor(@Inject(CurrentUser) readonly user: CurrentUser) {}

      @Get('profile')
      @CacheResult({ domains })
      async profile(): Promise<number> {
        return 1;
      }
    }
    expect(await failing({ controllers: [Profile], providers: [CurrentUser] })).toMatch(/Profile is request-scoped/);
  });

  it('with a decorated guard that two modules make', async () => {
    @Injectable()
    class CachingGuard {
      @CacheResult({ domains })
      async canActivate(): Promise<boolean> {
        return true;
      }
    }
    const moduleWith = (path: string): Type => {
      @UseGuards(CachingGuard)
      @Controller(path)
      class Guarded {}
      @Module({ controllers: [Guarded] })
      class Half {}
      return Half;
    };
    expect(await failing({ imports: [moduleWith('a'), moduleWith('b')] })).toMatch(/several instances of CachingGuard/);
  });

  it.each([
    ['@CacheResult', CacheResult({ domains, cache: 'reports' })],
    ['@InvalidatesDomain', InvalidatesDomain('item', { cache: 'reports' })],
  ])('with a cache in %s that nobody declared', async (name, decorator) => {
    @Injectable()
    class Reports {
      @decorator
      async all(): Promise<number> {
        return 1;
      }
    }
    expect(await failing({ providers: [Reports] })).toBe(
      `${name} on Reports.all: there is no cache 'reports'; import CacheModule.forFeature({ name: 'reports' })`,
    );
    await start({ providers: [Reports], imports: [CacheModule.forFeature({ name: 'reports' })] });
  });

  it('with a ttl beyond maxTtl', async () => {
    @Injectable()
    class Long {
      @CacheResult({ domains, ttl: '2d' })
      async all(): Promise<number> {
        return 1;
      }
    }
    expect(await failing({ providers: [Long] })).toMatch(
      /@CacheResult on Long\.all: ttl "2d" is longer than maxTtl \(86400 s\); shorten it or raise maxTtl/,
    );
  });

  it('with two modules for the whole application', async () => {
    const second = CacheModule.forRoot({ connection: world.database.url, tenancy: 'off', purgeInterval: false });
    expect(await failing({ imports: [second] })).toMatch(/CacheModule\.forRoot is imported twice/);
  });
});

describe('varyBy', () => {
  it.each([
    ['request-scoped', Scope.REQUEST],
    ['transient', Scope.TRANSIENT],
  ])('lets a %s class cache what it says', async (_lifetime, scope) => {
    let calls = 0;
    @Injectable({ scope })
    class Greeter {
      locale = 'en';

      @CacheResult({
        domains,
        varyBy(this: Greeter) {
          return { locale: this.locale };
        },
      })
      async greet(name: string): Promise<string> {
        return `${this.locale} ${name} ${++calls}`;
      }
    }
    const nest = await start({ providers: [Greeter] });
    const greeter = async (locale: string): Promise<Greeter> => {
      const made = await nest.app.get(ModuleRef).resolve(Greeter, ContextIdFactory.create(), { strict: false });
      return Object.assign(made, { locale });
    };
    const [english, german, english2] = [await greeter('en'), await greeter('de'), await greeter('en')];
    expect(english).not.toBe(english2);
    expect(await english.greet('Ada')).toBe('en Ada 1');
    await nest.drain();
    expect(await german.greet('Ada')).toBe('de Ada 2');
    expect(await english2.greet('Ada')).toBe('en Ada 1');
  });

  it('an object that Nest made behind the checks’ back fails at its call, not with another’s value', async () => {
    @Injectable()
    class Stateful {
      state = 0;

      @CacheResult({ domains })
      async read(): Promise<number> {
        return this.state;
      }
    }
    const [first, nest] = await started(Stateful);
    await first.read();
    const second = await nest.app.get(ModuleRef).create(Stateful);
    await expect(second.read()).rejects.toThrow(/there are several instances of Stateful/);
  });
});
