import { EventEmitter } from 'node:events';
import { describe, expect, it } from '@jest/globals';
import { CacheConfigurationError } from './errors.js';
import { CacheKeyBuilder, hashKey, MAX_KEY_LENGTH, type QueryKeyParts } from './keys.js';
import { parsePattern } from './pattern.js';

const keys = new CacheKeyBuilder();
const filterKey = (filters: Record<string, unknown>): string => keys.buildKey({ queryName: 'users', filters });
const methodKey = (...args: unknown[]): string => keys.buildMethodKey({ name: 'Users.find', args });

describe('CacheKeyBuilder.buildKey, the readable form', () => {
  it('shows tenant, view, filters by name, order, limit and offset', () => {
    const parts: QueryKeyParts = {
      queryName: 'users',
      tenantId: 'tenant-123',
      filters: { status: 'active', role: 'admin' },
      orderBy: [['created_at', 'DESC']],
      limit: 10,
      offset: 0,
    };
    const expected = 'fraiseql:tenant-123:users:role:admin:status:active:order:created_at:DESC:limit:10:offset:0';
    expect(keys.buildKey(parts)).toBe(expected);
    expect(keys.buildKey({ ...parts, filters: { role: 'admin', status: 'active' } })).toBe(expected);
  });

  it.each<[string, QueryKeyParts]>([
    ['fraiseql:users:status:active', { queryName: 'users', filters: { status: 'active' } }],
    ['fraiseql:users:status:active:limit:10', { queryName: 'users', filters: { status: 'active' }, limit: 10 }],
    [
      'fraiseql:tenant_123:users:status:active',
      { queryName: 'users', tenantId: 'tenant_123', filters: { status: 'active' } },
    ],
    ['fraiseql:t1:v_user:id:42', { queryName: 'v_user', tenantId: 't1', filters: { id: 42 } }],
    ['fraiseql:users:limit:10', { queryName: 'users', limit: 10 }],
    ['fraiseql:users:order:a:ASC:b:DESC', { queryName: 'users', orderBy: [['a', 'ASC'], ['b', 'DESC']] }], // prettier-ignore
    ['fraiseql:users:all', { queryName: 'users' }],
    ['fraiseql:@acme:users:all', { queryName: 'users', tenantId: 'acme' }],
    ['fraiseql:/top10:all', { queryName: 'top10' }],
    ['fraiseql:@@a1:top10:all', { queryName: 'top10', tenantId: '@a1' }],
    ['fraiseql:@/a1:top10:all', { queryName: 'top10', tenantId: '/a1' }],
    ['fraiseql://view:all', { queryName: '/view' }],
    ["fraiseql:@':':'':x", { queryName: '', tenantId: '', filters: { "'": 'x' } }],
    ["fraiseql:users:':x", { queryName: 'users', filters: { '': 'x' } }],
    ['fraiseql:t1:top10:all', { queryName: 'top10', tenantId: 't1' }],
  ])('%s', (expected, parts) => expect(keys.buildKey(parts)).toBe(expected));

  it.each<[string, unknown]>([
    ['00000000-0000-0000-0000-000000000000', '00000000-0000-0000-0000-000000000000'],
    ['2025-01-01', '2025-01-01'],
    ['2025-01-01T00:00:00.000Z', new Date('2025-01-01T00:00:00Z')],
    ['2025-01-01T00%3A00%3A00.000Z', '2025-01-01T00:00:00.000Z'],
    ['true', true],
    ["'true", 'true'],
    ['null', null],
    ["'null", 'null'],
    ['7', 7],
    ["'7", '7'],
    ['7n', 7n],
    ["'", ''],
    ["O'Brien", "O'Brien"],
    ["''quoted'", "'quoted'"],
    ['New York', 'New York'],
    ['caf%E9', 'café'],
    ['%uD83D%uDE00', '😀'],
    ['a,b', ['a', 'b']],
    ['b,a', ['b', 'a']],
    ['a%2Cb', 'a,b'],
    ['a,', ['a']],
    [',', []],
  ])('a filter reads %s', (expected, value) => expect(filterKey({ f: value })).toBe(`fraiseql:users:f:${expected}`));

  it('sorts the lists of __in filters and leaves the caller’s list alone', () => {
    const list = ['pending', 'active'];
    expect(filterKey({ status__in: list })).toBe('fraiseql:users:status__in:active,pending');
    expect(list).toEqual(['pending', 'active']);
    expect(filterKey({ status: ['pending', 'active'] })).not.toBe(filterKey({ status: ['active', 'pending'] }));
  });

  it('takes an undefined part for an absent one, but not an undefined filter', () => {
    const nothing = {
      tenantId: undefined,
      filters: undefined,
      orderBy: undefined,
      limit: undefined,
      offset: undefined,
    };
    expect(keys.buildKey({ queryName: 'users', ...nothing })).toBe(keys.buildKey({ queryName: 'users' }));
    expect(keys.buildKey({ queryName: 'users', filters: {}, orderBy: [] })).toBe(keys.buildKey({ queryName: 'users' }));
    expect(filterKey({ status: undefined })).toBe('fraiseql:users:status:undefined');
  });
});

describe('CacheKeyBuilder.buildKey, inputs that must not share a key', () => {
  const lookalikes: Record<string, unknown[]> = {
    'numbers and texts': [
      '1',
      1,
      1n,
      '1n',
      true,
      'true',
      [1],
      ['1'],
      new Number(1),
      '01',
      '1.0',
      1.5,
      '1.5',
      '1e+21',
      1e21,
    ],
    'nothings': [null, 'null', undefined, 'undefined', '', "'", [], [''], [null], ',', NaN, 'NaN', {}, Infinity, 'Infinity'], // prettier-ignore
    'lists and texts': [
      ['x', 'y'],
      'x,y',
      ['x,y'],
      ['x', 'y', ''],
      ['x', ['y']],
      [['x', 'y']],
      'x%2Cy',
      new Set(['x', 'y']),
    ],
    'one element and the scalar': ['a', ['a'], [['a']], { 0: 'a' }, 'a,'],
    'dates': [new Date(0), new Date(0).toISOString(), 0, '1970-01-01T00', [new Date(0)], new Date(NaN), 'Invalid Date', new Date(1)], // prettier-ignore
    objects: [{ a: 1 }, { a: '1' }, { a: { b: 1 } }, { a: undefined }, '{"a":1}', new Map([['a', 1]]), [['a', 1]]],
    bytes: [Buffer.from('a'), new Uint8Array([97]), 'a', 'YQ==', Buffer.from('b'), new ArrayBuffer(1)],
    unicode: [
      '\u00e9',
      'e\u0301',
      '%E9',
      '\ud83d',
      '\udc00',
      '\ufffd',
      '😀',
      '%uD83D',
      '\0',
      '%00',
      '\\0',
      '\u0001' + '0',
      '\u0010',
    ],
    marks: ['*', '%2A', '~', '%7E', '@', '/', '%', '%25', '\\', '%5C', ':', '%3A', "'1", "''1", 'limit', "'limit"],
    'holes': [[undefined], new Array(1), new Array(2), [undefined, undefined], Object.assign([1], { x: 1 }), [1]], // prettier-ignore
    'long texts': ['x'.repeat(10_000), 'x'.repeat(10_001), ['x'.repeat(10_000)], `${'x'.repeat(9_999)}y`],
  };
  it.each(Object.entries(lookalikes))('%s', (_, values) => {
    for (const name of ['f', 'f__in']) {
      expect(new Set(values.map((value) => filterKey({ [name]: value }))).size).toBe(values.length);
    }
    expect(new Set(values.filter((value) => value !== undefined).map((value) => methodKey(value))).size).toBe(
      values.filter((value) => value !== undefined).length,
    );
  });

  it('a hashed value and the text that spells it', () => {
    for (const value of [{ a: 1 }, 'x'.repeat(300)]) {
      const spelled = filterKey({ f: value }).slice('fraiseql:users:f:'.length);
      expect(spelled).toContain('~');
      expect(filterKey({ f: spelled })).not.toBe(filterKey({ f: value }));
    }
    const wide = Object.fromEntries(Array.from({ length: 99 }, (_, i) => [`column_${i}`, 'value']));
    const tail = filterKey(wide).slice('fraiseql:users:'.length);
    expect(tail).toMatch(/^~[\w-]{22}$/);
    expect(filterKey({ [tail]: '' })).not.toContain(tail);
  });

  it('different structures of the same segments', () => {
    const parts: QueryKeyParts[] = [
      { queryName: 'users', orderBy: [['created_at', 'DESC']] },
      { queryName: 'order', tenantId: 'users', filters: { created_at: 'DESC' } },
      { queryName: 'order', filters: { created_at: 'DESC' } },
      { queryName: 'users', filters: { order: 'created_at', DESC: '' } },
      { queryName: 'users', filters: { order: 'created_at' } },
      { queryName: 'status', tenantId: 'users', filters: { active: 'x' } },
      { queryName: 'users', filters: { status: 'active' } },
      { queryName: 'users', tenantId: 'a', filters: { b: 'c' } },
      { queryName: 'b', tenantId: 'a', filters: { c: 'c' } },
      { queryName: 'b', tenantId: 'users:a', filters: { c: 'c' } },
      { queryName: 'a:b' },
      { queryName: 'b', tenantId: 'a' },
      { queryName: 'b', tenantId: '@a' },
      { queryName: 'b', tenantId: '/a' },
      { queryName: '/b1' },
      { queryName: 'b1', filters: { b: 'all' } },
      { queryName: 'b', tenantId: '/b1', filters: {} },
      { queryName: 'b', tenantId: '/b1', filters: { all: '' } },
      { queryName: 'b1' },
      { queryName: '@a', filters: { b: 'all' } },
      { queryName: 'c', tenantId: 'a:b' },
      { queryName: 'b:c', tenantId: 'a' },
      { queryName: 'users', limit: 10 },
      { queryName: 'users', filters: { limit: 10 } },
      { queryName: 'users', filters: { limit: '10' } },
      { queryName: 'users', filters: { "'limit": 10 } },
      { queryName: 'users', filters: { order: 'x' }, orderBy: [['y', 'ASC']] },
      { queryName: 'users', orderBy: [['x', 'order' as 'ASC'], ['y', 'ASC']] }, // prettier-ignore
      { queryName: 'limit', tenantId: 'users', filters: {} },
      { queryName: 'users', offset: 10 },
      { queryName: 'users', filters: { offset: 10 } },
      { queryName: 'users', orderBy: [['limit', 'ASC']] },
      { queryName: 'users', orderBy: [['limit', 'DESC']] },
      { queryName: 'users', orderBy: [['a', 'ASC'], ['b', 'ASC']] }, // prettier-ignore
      { queryName: 'users', orderBy: [['b', 'ASC'], ['a', 'ASC']] }, // prettier-ignore
      { queryName: 'users', filters: { a: 'x', b: 'y' } },
      { queryName: 'users', filters: { a: 'x:b:y' } },
      { queryName: 'users', filters: { 'a:x:b': 'y' } },
      { queryName: 'users', filters: { 'a*': 'y' } },
      { queryName: 'users', filters: { '+': '2025-01-01T00', '00': '00.000Z' } },
      { queryName: 'users', filters: { '+': new Date('2025-01-01T00:00:00Z') } },
      { queryName: '', tenantId: '' },
      { queryName: '' },
      { queryName: 'all' },
      { queryName: 'users' },
      { queryName: 'users', filters: { all: '' } },
      { queryName: 'users', filters: { '': '' } },
    ];
    expect(new Set(parts.map((part) => keys.buildKey(part))).size).toBe(parts.length);
  });

  it('different prefixes', () => {
    const build = (prefix: string, parts: QueryKeyParts): string => new CacheKeyBuilder({ prefix }).buildKey(parts);
    const all = [
      build('app', { queryName: 'users', tenantId: 'x1' }),
      build('app:x1', { queryName: 'users' }),
      build('app:x1:users', { queryName: 'all' }),
      build('', { queryName: 'app', tenantId: 'x1', filters: { users: 'all' } }),
      build('app', { queryName: 'x1' }),
    ];
    expect(new Set(all).size).toBe(all.length);
  });

  it('a method and a view named db_query', () => {
    const key = methodKey(1);
    const digest = key.split(':').at(-1) ?? '';
    expect(keys.buildKey({ queryName: 'db_query', filters: { 'Users.find': digest } })).toBe(
      `fraiseql:'db_query:Users.find:${digest}`,
    );
  });
});

describe('CacheKeyBuilder, limits of the database', () => {
  const huge = 'ü:\0*\ud800'.repeat(2_000);
  const builders = [keys, new CacheKeyBuilder({ prefix: huge })];
  const everything = builders.flatMap((builder) => [
    builder.buildKey({
      queryName: huge,
      tenantId: huge,
      filters: { [huge]: huge, a: [huge, huge] },
      orderBy: [[huge, 'ASC']],
    }),
    builder.buildKey({
      queryName: 'users',
      filters: Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`f${i}`, i])),
    }),
    builder.buildKey({ queryName: 'users', filters: { f__in: Array.from({ length: 5_000 }, (_, i) => i) } }),
    builder.buildMethodKey({ name: huge, tenantId: huge, args: [huge, [huge]], varyBy: { [huge]: huge } }),
    builder.buildMutationPattern(huge, { tenantId: huge }),
  ]);

  it('bounds every key and writes printable ASCII only', () => {
    for (const key of everything) {
      expect(Buffer.byteLength(key)).toBeLessThanOrEqual(MAX_KEY_LENGTH);
      expect(key).toMatch(/^[ -~]+$/);
    }
  });

  it('keeps a huge tenant recognisable by its prefix', () => {
    const prefix = keys.tenantPrefix(huge);
    expect(everything.filter((key) => key.startsWith(prefix))).toHaveLength(3);
    expect(keys.tenantPrefix(`${huge}x`)).not.toBe(prefix);
    expect(prefix.length).toBeLessThan(100);
  });

  it('puts no star or backslash into a key, so that a pattern made of its parts needs no escaping', () => {
    expect(keys.buildKey({ queryName: '*\\', tenantId: '*', filters: { '*': '*' } })).not.toMatch(/[*\\]/);
    expect(keys.buildMutationPattern('*', { tenantId: '*' })).toBe('fraiseql:%2A:%2A:*');
  });
});

describe('CacheKeyBuilder.buildMethodKey', () => {
  it('shows tenant and method and hashes the arguments', () => {
    expect(methodKey(1, 'a')).toMatch(/^fraiseql:db_query:Users\.find:[\w-]{22}$/);
    expect(keys.buildMethodKey({ name: 'top_products', tenantId: 't1', args: [] })).toMatch(
      /^fraiseql:t1:db_query:top_products:[\w-]{22}$/,
    );
    expect(keys.buildMethodKey({ name: 'top_products', tenantId: 'acme', args: [] })).toMatch(
      /^fraiseql:@acme:db_query:/,
    );
  });

  it('takes trailing undefined arguments for missing ones, and no others', () => {
    expect(methodKey()).toBe(methodKey(undefined));
    expect(methodKey(1)).toBe(methodKey(1, undefined, undefined));
    expect(methodKey(undefined, 1)).not.toBe(methodKey(1));
    expect(methodKey(null)).not.toBe(methodKey());
    expect(methodKey([undefined])).not.toBe(methodKey([]));
  });

  it('separates arguments from each other and from varyBy', () => {
    const build = (args: unknown[], varyBy?: Record<string, unknown>): string =>
      keys.buildMethodKey({ name: 'm', args, ...(varyBy && { varyBy }) });
    const all = [
      build(['a', 'b']),
      build(['a,b']),
      build([1, 0]),
      build([10]),
      build(['a","b']),
      build([['a', 'b']]),
      build([{ role: 'x' }]),
      build([], { role: 'x' }),
      build([], { role: 'y' }),
      build(['a'], { role: 'x' }),
    ];
    expect(new Set(all).size).toBe(all.length);
    expect(build(['a'], {})).toBe(build(['a']));
    expect(build([], { a: 1, b: 2 })).toBe(build([], { b: 2, a: 1 }));
  });

  it('names the argument that cannot be part of a key, and the remedy', () => {
    const cyclic: Record<string, unknown> = {};
    cyclic.self = cyclic;
    expect(() => methodKey(1, cyclic)).toThrow(CacheConfigurationError);
    expect(() => methodKey(1, cyclic)).toThrow(
      'Users.find: argument 1 (at .self) is a cycle: it contains itself, so it cannot be part of a cache key. ' +
        'Leave it out with a key of your own: pass `key: (...args) => …` to the decorator.',
    );
    expect(() => methodKey({ on: { done: () => 1 } })).toThrow('argument 0 (at .on.done) is a function');
    expect(() => methodKey(1, 2, new EventEmitter())).toThrow(/argument 2 is an instance of EventEmitter/);
    expect(() => keys.buildMethodKey({ name: 'm', args: [], varyBy: { role: Symbol('x') } })).toThrow(
      'm: `varyBy` (at .role)',
    );
  });

  it('names the filter too, and never shows a value', () => {
    const attempt = (): string => filterKey({ f: { secret: 'hunter2', g: () => 1 } });
    expect(attempt).toThrow('buildKey: filter "f" (at .g) is a function');
    expect(attempt).not.toThrow('hunter2');
  });
});

describe('CacheKeyBuilder, untyped callers', () => {
  const build =
    (parts: unknown): (() => string) =>
    () =>
      keys.buildKey(parts as QueryKeyParts);
  it.each<[string, unknown]>([
    ['must be a string, not null', { queryName: 'users', tenantId: null }],
    ['must be a string, not number', { queryName: 'users', tenantId: 7 }],
    ['must be a string, not undefined', {}],
    ['plain object', { queryName: 'users', filters: new Map([['a', 1]]) }],
    ['plain object', { queryName: 'users', filters: ['a'] }],
    ['plain object', { queryName: 'users', filters: null }],
    ['symbol', { queryName: 'users', filters: { [Symbol.for('or')]: [1] } }],
    ['must be a pair', { queryName: 'users', orderBy: [['a', 'DESC', 'NULLS LAST']] }],
    ['must be a pair', { queryName: 'users', orderBy: ['ab'] }],
    ['must be a string', { queryName: 'users', orderBy: [['a', -1]] }],
  ])('refuses what is not said (%s)', (message, parts) => {
    expect(build(parts)).toThrow(CacheConfigurationError);
    expect(build(parts)).toThrow(message);
  });
});

describe('CacheKeyBuilder, patterns', () => {
  it('builds the pattern of a view without tenant, in one tenant, and in all', () => {
    expect(keys.buildMutationPattern('user')).toBe('fraiseql:user:*');
    expect(keys.buildMutationPattern('user', { tenantId: 't1' })).toBe('fraiseql:t1:user:*');
    expect(keys.buildMutationPattern('user', { allTenants: true })).toBe('fraiseql:*:user:*');
    expect(() => keys.buildMutationPattern('user', { tenantId: 't1', allTenants: true })).toThrow(/contradict/);
  });

  it.each(['user', 'top10', '', 'a:b', 'order', "'x", '@x', '/x', 'x*', 'ü'.repeat(500), 'db_query'])(
    'covers the keys of its own view and of no other view or tenant (%#)',
    (view) => {
      const tenants = [undefined, view, 't1', 'acme', `${view}:`, '*'];
      const views = [view, `${view}s`, 'other', `${view}:all`];
      for (const of of tenants) {
        const pattern = parsePattern(keys.buildMutationPattern(view, { tenantId: of }));
        for (const tenantId of tenants) {
          for (const queryName of views) {
            for (const more of [{}, { filters: { a: view } }, { limit: 1 }]) {
              const key = keys.buildKey({ queryName, tenantId, ...more });
              expect([key, pattern.matches(key)]).toEqual([key, of === tenantId && queryName === view]);
            }
          }
        }
      }
      const everywhere = parsePattern(keys.buildMutationPattern(view, { allTenants: true }));
      for (const tenantId of tenants) {
        expect(everywhere.matches(keys.buildKey({ queryName: view, tenantId }))).toBe(tenantId !== undefined);
      }
    },
  );

  it('tenantPrefix is the start of that tenant’s keys', () => {
    expect(keys.tenantPrefix('tenant-123')).toBe('fraiseql:tenant-123:');
    expect(keys.tenantPrefix('a:b')).toBe('fraiseql:a%3Ab:');
    expect(keys.tenantPrefix()).toBe('fraiseql:');
  });
});

describe('hashKey', () => {
  it('is short, stable and shows nothing of the key', () => {
    expect(hashKey('fraiseql:t1:users:all')).toMatch(/^[\w-]{12}$/);
    expect(hashKey('a')).toBe(hashKey('a'));
    expect(hashKey('a')).not.toBe(hashKey('b'));
  });
});
