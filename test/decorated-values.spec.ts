/* eslint-disable @typescript-eslint/no-unused-vars -- arguments that only the key sees */
import { afterAll, describe, expect, it } from '@jest/globals';
import { Injectable, StreamableFile, type Type } from '@nestjs/common';
import { CacheResult, type ResultCache } from 'nestjs-result-cache';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { setImmediate as turn } from 'node:timers/promises';
import { of, lastValueFrom, type Observable } from 'rxjs';
import { closeCaches, openCache } from './support/caches.js';
import { itemsWorld } from './support/items.js';

afterAll(closeCaches);
const world = itemsWorld();
const domains = ['item'];

/** A service whose one method returns what `make` makes. */
function serviceOf<T>(make: (call: number) => T): Type<{ calls: number; read(key?: unknown): Promise<T> }> {
  @Injectable()
  class Service {
    calls = 0;

    @CacheResult({ domains })
    async read(_key?: unknown): Promise<T> {
      return make(++this.calls);
    }
  }
  return Service;
}

describe('a value that cannot be stored', () => {
  const cyclic = (): object => {
    const value: Record<string, unknown> = { name: 'loop' };
    value.self = value;
    return value;
  };
  class Hidden {
    #secret = 'x';

    reveal(): string {
      return this.#secret;
    }
  }

  it.each<[kind: string, make: () => unknown, use: (value: any) => unknown, reason: RegExp]>([
    ['a function', () => () => 'called', (value) => value(), /it is a function; leave it out/],
    [
      'an object with a function',
      () => ({ act: () => 'called' }),
      (value) => value.act(),
      /at \.act: it is a function/,
    ],
    ['a cycle', cyclic, (value) => value.self.name, /contains itself|cycle|cyclic/i],
    ['a stream', () => Readable.from(['a', 'b']), (value) => text(value), /is a stream/],
    [
      'a file',
      () => new StreamableFile(Readable.from(['a', 'b'])),
      (value) => text(value.getStream()),
      /StreamableFile|stream/,
    ],
    ['an Observable', () => of('seen'), (value: Observable<string>) => lastValueFrom(value), /is a stream|unsupported/],
    ['a web stream', () => new Blob(['ab']).stream(), (value) => text(value), /./],
    [
      'a generator',
      () =>
        (function* () {
          yield 'made';
        })(),
      (value) => [...value].join(),
      /./,
    ],
    [
      'an async generator',
      () =>
        (async function* () {
          yield 'made';
        })(),
      async (value) => (await value.next()).value,
      /./,
    ],
    ['private members', () => new Hidden(), (value: Hidden) => value.reveal(), /has private members/],
    ['a symbol', () => Symbol.for('s'), (value) => String(value), /it is a symbol/],
    ['a promise inside', () => ({ later: Promise.resolve('now') }), (value) => value.later, /./],
    ['a WeakMap', () => ({ map: new WeakMap() }), (value) => value.map instanceof WeakMap, /./],
    ['too large a text', () => ({ text: 'x'.repeat(200_000) }), (value) => value.text.length, /at most 100000 bytes/],
    [
      'too large a list with a stream at its end',
      () => [new Array(60_000).fill(1), Readable.from(['z'])],
      (value) => text(value[1]),
      /at most/,
    ],
  ])('%s reaches every caller whole, is counted, and is told once', async (_kind, make, use, reason) => {
    const [service, nest] = await world.started(serviceOf(make));
    const expected = await use(make());
    // One after the other, and two at once, of whom the second would join the first.
    expect(await use(await service.read())).toEqual(expected);
    expect(await use(await service.read())).toEqual(expected);
    const both = await Promise.all([service.read(), service.read()]);
    expect(await Promise.all(both.map(use))).toEqual([expected, expected]);
    await nest.drain();
    expect(await use(await service.read())).toEqual(expected);
    expect((await nest.cache.getStats()).totalEntries).toBe(0);
    expect(nest.cache.engine.counters()).toMatchObject({ hits: 0, stores: 0 });
    expect(nest.cache.engine.counters().unstorable).toBeGreaterThanOrEqual(4);
    expect(nest.warnings).toEqual([expect.stringMatching(/^Service\.read returns a value that cannot be cached: /)]);
    expect(nest.warnings[0]).toMatch(reason);
  });

  it('is computed once for all who join, if it is only too large', async () => {
    @Injectable()
    class Large {
      calls = 0;

      @CacheResult({ domains })
      async read(): Promise<{ text: string }> {
        this.calls++;
        await turn();
        return { text: 'x'.repeat(200_000) };
      }
    }
    const [large] = await world.started(Large);
    const [one, two] = await Promise.all([large.read(), large.read()]);
    expect(large.calls).toBe(1);
    expect(one).toEqual(two);
    expect(one).not.toBe(two);
  });

  it('obeys maxValueBytes', async () => {
    const [service, nest] = await world.started(
      serviceOf(() => 'x'.repeat(50)),
      { options: { maxValueBytes: 20 } },
    );
    await service.read();
    await nest.drain();
    await service.read();
    expect(service.calls).toBe(2);
    expect(nest.warnings).toEqual([expect.stringMatching(/needs 52 bytes, and at most 20 bytes are cached/)]);
  });
});

describe('what is a value like any other', () => {
  it.each([[null], [0], [''], [false], [[]], [undefined], [NaN], [-0], [{}]])('%p', async (value) => {
    const [service, nest] = await world.started(serviceOf(() => value));
    expect(await service.read()).toEqual(value);
    await nest.drain();
    expect(Object.is(await service.read(), value) || typeof value === 'object').toBe(true);
    expect(await service.read()).toEqual(value);
    expect(service.calls).toBe(1);
  });
});

describe('errors', () => {
  it('pass unchanged, to all who wait, and are not cached', async () => {
    const failures: Error[] = [];
    @Injectable()
    class Failing {
      async fail(): Promise<never> {
        const failure = Object.assign(new RangeError(`failure ${failures.length}`), { code: 'E1' });
        failures.push(failure);
        throw failure;
      }

      @CacheResult({ domains })
      async read(): Promise<never> {
        return this.fail();
      }

      // Not async: it throws before there is a promise.
      @CacheResult({ domains })
      sync(): Promise<never> {
        throw new TypeError('at once');
      }

      @CacheResult({ domains })
      async odd(): Promise<never> {
        // eslint-disable-next-line @typescript-eslint/only-throw-error
        throw undefined;
      }
    }
    const [failing, nest] = await world.started(Failing);
    const caught = (promise: Promise<never>): Promise<unknown> => promise.catch((error: unknown) => error);
    expect(await caught(failing.read())).toBe(failures[0]);
    expect(await caught(failing.read())).toBe(failures[1]);
    const both = await Promise.all([caught(failing.read()), caught(failing.read())]);
    for (const error of both) expect(failures).toContain(error);
    expect(await caught(failing.sync())).toEqual(new TypeError('at once'));
    expect(await caught(failing.sync())).toEqual(new TypeError('at once'));
    expect(await caught(failing.odd())).toBeUndefined();
    await nest.drain();
    expect((await nest.cache.getStats()).totalEntries).toBe(0);
    expect(nest.warnings).toEqual([]);
  });
});

describe('no two callers share a mutable object', () => {
  interface Shape {
    list: { n: number }[];
    at: Date;
    map: Map<string, { n: number }>;
  }
  const fresh = (): Shape => ({ list: [{ n: 1 }], at: new Date(0), map: new Map([['k', { n: 1 }]]) });
  const spoil = (shape: Shape): void => {
    shape.list[0]!.n = 99;
    shape.list.push({ n: 100 });
    shape.at.setTime(99);
    shape.map.get('k')!.n = 99;
    shape.map.clear();
  };

  it('on a miss: what its caller does is not stored', async () => {
    const [service, nest] = await world.started(serviceOf(fresh));
    spoil(await service.read());
    await nest.drain();
    expect(await service.read()).toEqual(fresh());
    expect(service.calls).toBe(1);
  });

  it('while it is being stored: who comes then gets what was computed, not what its owner made of it', async () => {
    const [service, nest] = await world.started(serviceOf(fresh));
    let release!: () => void;
    const gate = new Promise<void>((resolve) => (release = resolve));
    const { store } = nest.cache.engine;
    const fill = store.fill.bind(store);
    store.fill = async (fills) => gate.then(() => fill(fills));
    spoil(await service.read());
    expect(await service.read()).toEqual(fresh());
    release();
    expect(service.calls).toBe(1);
  });

  it('on hits, also of one turn', async () => {
    const [service, nest] = await world.started(serviceOf(fresh));
    await service.read();
    await nest.drain();
    const hits = await Promise.all([service.read(), service.read()]);
    spoil(hits[0]);
    expect(hits[1]).toEqual(fresh());
    spoil(await service.read());
    expect(await service.read()).toEqual(fresh());
    expect(service.calls).toBe(1);
  });

  it('when they joined one computation', async () => {
    const [service, nest] = await world.started(serviceOf(fresh));
    const joined = [1, 2, 3].map(async () => {
      const value = await service.read();
      expect(value).toEqual(fresh());
      spoil(value);
    });
    await Promise.all(joined);
    expect(service.calls).toBe(1);
    await nest.drain();
    expect(await service.read()).toEqual(fresh());
  });
});

describe('values keep their types from one process to another', () => {
  class User {
    id = 1;
    name = 'Ada';
    born = new Date('1815-12-10');
    tags = new Set(['a']);

    greet(): string {
      return `I am ${this.name}`;
    }
  }
  class Post {
    constructor(
      readonly author: User,
      readonly views: bigint,
    ) {}
  }

  it.each<[kind: string, value: unknown]>([
    ['Date', new Date(1e12)],
    ['bigint', { big: 2n ** 70n, negative: -1n }],
    [
      'Map',
      new Map<unknown, unknown>([
        ['k', new Date(0)],
        [1, 1n],
        [null, { a: 1 }],
      ]),
    ],
    ['Set', new Set([1, '1', null])],
    ['instance', new User()],
    ['instances in lists and maps', [new Post(new User(), 5n), new Map([['u', new User()]])]],
    ['bytes', { buffer: Buffer.from([0, 255]), array: new Uint8Array([1, 2]), floats: new Float64Array([NaN, -0]) }],
    ['NUL', { 'a\0b': 'x\0y', list: ['\0'] }],
    ['lone surrogates', { '\ud800': '\udfff', list: ['a\ud800b'] }],
    ['text that JSON escapes', ['\n"\\\u2028', 'emoji 👩‍👩‍👧', 'a'.repeat(1_000)]],
    ['numbers', [NaN, Infinity, -Infinity, -0, 0.1, 5e-324, Number.MAX_SAFE_INTEGER]],
    ['undefined', { there: undefined, list: [undefined, null] }],
    ['own __proto__', JSON.parse('{"__proto__":{"admin":true},"a":1}')],
    ['null prototype', Object.assign(Object.create(null) as object, { a: 1 })],
    ['RegExp, URL, Error', [/a\/b/giu, new URL('https://a.example/?q=1#x'), new RangeError('no')]],
    ['what looks like our own marks', { c: 'User', p: { at: 'Date' }, k: 'Date', '@': '$date' }],
  ])('%s', async (_kind, value) => {
    const classes = [User, Post];
    const processes: ResultCache[] = [];
    for (let i = 0; i < 2; i++) processes.push((await openCache(world.database)).cache);
    const [writer, reader] = processes as [ResultCache, ResultCache];
    const key = `types ${_kind}`;
    const options = { untracked: true, classes };
    expect(await writer.getOrSet(key, async () => value, options)).toBe(value);
    await writer.drain();
    const compute = async (): Promise<never> => {
      throw new Error('not a hit');
    };
    for (const cache of [reader, writer]) {
      const found = await cache.getOrSet<unknown>(key, compute, options);
      expect(found).toStrictEqual(value);
      expect(found).not.toBe(value);
    }
  });

  it('an invalid Date, which equals nothing', async () => {
    const [{ cache: writer }, { cache: reader }] = [await openCache(world.database), await openCache(world.database)];
    await writer.set('invalid', new Date(NaN));
    const found = await reader.get<Date>('invalid');
    expect([found instanceof Date, found?.getTime()]).toEqual([true, NaN]);
  });

  it('with their methods, and without a constructor’s side effects', async () => {
    const [{ cache: writer }, { cache: reader }] = [await openCache(world.database), await openCache(world.database)];
    await writer.getOrSet('user', async () => new User(), { untracked: true });
    await writer.drain();
    const found = await reader.getOrSet('user', async () => new User(), { untracked: true, classes: [User] });
    expect([found.greet(), found.born.getFullYear(), found.tags.has('a')]).toEqual(['I am Ada', 1815, true]);
  });
});
