import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import {
  CacheConfigurationError,
  CacheModule,
  type CacheService,
  getCacheToken,
  MissingTenantError,
  type ResultCache,
  TenantContext,
} from 'nestjs-result-cache';
import { closeCaches, openCache } from './support/caches.js';
import { createDatabase, type TestDatabase } from './support/database.js';
import { closeNest, startNest, type StartedNest } from './support/nest.js';
import { installSettled } from './support/settled.js';
import { fuzz } from './support/fuzz.js';

/** Names that would mean something else if they were pasted into a key, a pattern, a statement or a log line. */
const ODD = [
  'a:b',
  'a',
  'b',
  '%',
  '_',
  '*',
  '\\*',
  '~',
  "'; drop table users;--",
  '👩‍👩‍👧',
  'é',
  'e\u0301',
  '@acme',
  'acme',
  'ACME',
  'acme ',
  '/acme',
  'db_query',
  'kv',
  "'kv",
  'all',
  'order',
  'fraiseql',
  'null',
  'undefined',
  '7',
  '007',
  'a%3Ab',
  'a\nb',
  'tenant-1',
  'tenant-10',
  'x'.repeat(10_000),
  'x'.repeat(10_001),
];
/** As keys, these too; as tenants PostgreSQL's text cannot hold them. */
const ODD_KEYS = [...ODD, 'a\0b', '\0', '\ud800', '\udfff', 'a\ud800b', '\u2028', 'kv:a', '!a', '__proto__'];
const PATTERNS = [
  '*',
  'a*',
  'a:*',
  'a',
  '%*',
  '_*',
  '\\**',
  '\\\\*',
  '*b',
  'k*:*',
  'x*',
  'a\0*',
  '\ud800*',
  '👩*',
  '~*',
  '__proto__',
];

let database: TestDatabase;
let nest: StartedNest;
let caches: CacheService[];
let tenants: TenantContext;

beforeAll(async () => {
  database = await createDatabase();
  await database.pool.query('CREATE TABLE items (id int PRIMARY KEY, tenant_id text, name text)');
  await database.pool.query('CREATE TABLE users (id int PRIMARY KEY)');
  await installSettled(database);
  nest = await startNest(database, {
    options: { tenancy: 'required' },
    imports: [
      CacheModule.forFeature({ name: 'named' }),
      CacheModule.forFeature({ name: 'own-table', tableName: '"Own table"' }),
    ],
  });
  caches = [nest.cache, ...['named', 'own-table'].map((name) => nest.app.get<CacheService>(getCacheToken(name)))];
  tenants = nest.app.get(TenantContext);
});
afterEach(async () => {
  await database.pool.query('DELETE FROM fraiseql_cache.fraiseql_cache; DELETE FROM fraiseql_cache."Own table"');
});
afterAll(async () => {
  expect((await database.pool.query(`SELECT to_regclass('users') IS NOT NULL AS there`)).rows).toEqual([
    { there: true },
  ]);
  await closeNest();
  await closeCaches();
  await database.drop();
});

/** Whose values: a tenant's, or nobody's. */
type Space = { tenant: string } | 'shared';

/** Call a cache for a space: a tenant as the current one, or named in the call. */
function within<T>(
  space: Space,
  named: boolean,
  call: (options?: { tenant: 'shared' | { id: string } }) => Promise<T>,
) {
  if (space === 'shared') return call({ tenant: 'shared' });
  return named ? call({ tenant: { id: space.tenant } }) : tenants.run(space.tenant, () => call());
}

/** What a pattern means, said as simply as possible. */
function matches(pattern: string, key: string): boolean {
  const source = pattern.replace(/\\([\\*])|(\*)|([^])/g, (_all, escaped?: string, star?: string, other?: string) =>
    star !== undefined ? '[^]*' : `\\u${(escaped ?? other)!.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
  return new RegExp(`^${source}$`).test(key);
}

describe('tenants', () => {
  /** Few tenants and keys at a time, so that they meet often. */
  const stepsAmong = (names: readonly string[], keys: readonly string[]) =>
    fc.array(
      fc.record({
        operation: fc.constantFrom(
          ...([
            'set',
            'set',
            'getOrSet',
            'getOrSet',
            'get',
            'exists',
            'getMany',
            'delete',
            'invalidatePattern',
          ] as const),
        ),
        cache: fc.nat({ max: 2 }),
        space: fc.constantFrom<Space>('shared', ...names.map((tenant) => ({ tenant }))),
        named: fc.boolean(),
        key: fc.constantFrom(...keys),
        pattern: fc.constantFrom(...PATTERNS),
      }),
      { minLength: 20, maxLength: 60 },
    );
  const steps = fc
    .tuple(
      fc.uniqueArray(fc.constantFrom(...ODD), { minLength: 3, maxLength: 4 }),
      fc.uniqueArray(fc.constantFrom(...ODD_KEYS), { minLength: 3, maxLength: 5 }),
    )
    .chain(([names, keys]) => stepsAmong(names, keys));

  it('never see or delete what is another’s, in any cache, whatever they and their keys are called', async () => {
    let value = 0;
    await fuzz(
      fc.asyncProperty(steps, async (all) => {
        // Not by deleting rows: what is in memory is good without them.
        for (const { engine } of caches) await engine.invalidatePattern('*');
        // What ought to be there: by cache and space, then by key.
        const model = new Map<string, Map<string, number>>();
        for (const { operation, cache: index, space, named, key, pattern } of all) {
          const cache = caches[index]!;
          const id = JSON.stringify([index, space]);
          const entries = model.get(id) ?? new Map<string, number>();
          model.set(id, entries);
          const call = <T>(work: (options?: object) => Promise<T>): Promise<T> => within(space, named, work);
          switch (operation) {
            case 'set':
              expect(await call((options) => cache.set(key, ++value, { untracked: true, ...options }))).toBe(true);
              entries.set(key, value);
              break;
            case 'getOrSet': {
              const found = await call((options) =>
                cache.getOrSet(key, async () => ++value, { untracked: true, ...options }),
              );
              await cache.engine.drain();
              expect(found).toBe(entries.get(key) ?? value);
              entries.set(key, found);
              break;
            }
            case 'get':
              expect(await call((options) => cache.get(key, options))).toBe(entries.get(key));
              break;
            case 'exists':
              expect(await call((options) => cache.exists(key, options))).toBe(entries.has(key));
              break;
            case 'getMany':
              expect(await call((options) => cache.getMany(ODD_KEYS, options))).toEqual(entries);
              break;
            case 'delete':
              expect(await call((options) => cache.delete(key, options))).toBe(entries.delete(key));
              break;
            case 'invalidatePattern': {
              const gone = [...entries.keys()].filter((each) => matches(pattern, each));
              expect(await call((options) => cache.invalidatePattern(pattern, options))).toBe(gone.length);
              for (const each of gone) entries.delete(each);
            }
          }
        }
        for (const [id, entries] of model) {
          const [index, space] = JSON.parse(id) as [number, Space];
          expect(await within(space, true, (options) => caches[index]!.getMany(ODD_KEYS, options))).toEqual(entries);
        }
      }),
      25,
    );
  });

  it('each hold their own value of one key, all at once', async () => {
    const spaces: Space[] = [...ODD.map((tenant) => ({ tenant })), 'shared'];
    const answers = () =>
      Promise.all(
        spaces.flatMap((space, mine) =>
          caches.map(async (cache, index) => {
            const compute = async (): Promise<string> => `${mine} ${index}`;
            return within(space, mine % 2 === 0, (options) =>
              cache.getOrSet('key', compute, { untracked: true, ...options }),
            );
          }),
        ),
      );
    const expected = spaces.flatMap((_, mine) => caches.map((_cache, index) => `${mine} ${index}`));
    expect(await answers()).toEqual(expected);
    await Promise.all(caches.map(({ engine }) => engine.drain()));
    const before = caches.map(({ engine }) => engine.counters().hits);
    expect(await answers()).toEqual(expected);
    expect(caches.map(({ engine }, index) => engine.counters().hits - before[index]!)).toEqual(
      caches.map(() => spaces.length),
    );
  });

  it.each(['a\0', '\0', '\ud800', ''])('named %j are refused, with a word why', async (tenant) => {
    expect(() => tenants.run(tenant, () => 0)).toThrow(CacheConfigurationError);
    const calls: ((options: { tenant: { id: string } }) => Promise<unknown>)[] = [
      (options) => nest.cache.get('k', options),
      (options) => nest.cache.set('k', 1, { untracked: true, ...options }),
      (options) => nest.cache.getOrSet('k', async () => 1, { untracked: true, ...options }),
      (options) => nest.cache.exists('k', options),
      (options) => nest.cache.getMany(['k'], options),
      (options) => nest.cache.delete('k', options),
      (options) => nest.cache.invalidatePattern('*', options),
    ];
    for (const call of calls)
      await expect(call({ tenant: { id: tenant } })).rejects.toThrow(
        /tenant gave (a tenant id with a NUL|an empty string)/,
      );
    expect((await nest.cache.getStats()).totalEntries).toBe(0);
  });

  it.each<[choice: unknown]>([[null], ['acme'], [{}], [{ id: undefined }], [{ id: null }], [{ id: ['a'] }]])(
    'chosen as %j are no way around',
    async (tenant) => {
      await expect(nest.cache.get('k', { tenant: tenant as never })).rejects.toThrow(CacheConfigurationError);
    },
  );

  it('are required: without one nothing is read, and nothing computed or stored', async () => {
    let computed = 0;
    const calls: (() => Promise<unknown>)[] = [
      () => nest.cache.get('k'),
      () => nest.cache.set('k', 1),
      () => nest.cache.getOrSet('k', async () => ++computed, { untracked: true }),
      () => nest.cache.exists('k'),
      () => nest.cache.getMany(['k']),
      () => nest.cache.delete('k'),
      () => nest.cache.invalidatePattern('*'),
    ];
    for (const call of calls) await expect(call()).rejects.toBeInstanceOf(MissingTenantError);
    expect(computed).toBe(0);
    expect((await nest.cache.getStats()).totalEntries).toBe(0);
  });

  it('a label for statistics chooses no tenant', async () => {
    await tenants.run('a', () => nest.cache.set('k', 1, { untracked: true, tenantId: 'b' } as never));
    expect(await tenants.run('b', () => nest.cache.get('k'))).toBeUndefined();
    expect((await database.pool.query('SELECT tenant_id FROM fraiseql_cache.fraiseql_cache')).rows).toEqual([
      { tenant_id: 'a' },
    ]);
  });
});

describe('keys', () => {
  const stored = new Map(ODD_KEYS.map((key, index) => [key, index]));

  it('of any kind are apart through CacheService', async () => {
    await tenants.run('acme', async () => {
      for (const [key, value] of stored) expect(await nest.cache.set(key, value)).toBe(true);
      expect(await nest.cache.getMany(ODD_KEYS)).toEqual(stored);
      for (const [key, value] of stored) {
        expect([await nest.cache.exists(key), await nest.cache.get(key)]).toEqual([true, value]);
        expect(await nest.cache.delete(key)).toBe(true);
        expect([await nest.cache.exists(key), await nest.cache.delete(key)]).toEqual([false, false]);
      }
    });
  });

  it('of any kind are apart through the raw engine, in two processes', async () => {
    const [{ cache: one }, { cache: other }] = [await openCache(database), await openCache(database)];
    await one.setMany(stored);
    for (const cache of [one, other]) expect(await cache.getMany(ODD_KEYS)).toEqual(stored);
    for (const [key, value] of stored) {
      expect(await other.getOrSet(key, async () => 'computed', { untracked: true })).toBe(value);
      expect(await other.delete(key)).toBe(true);
      expect(await one.exists(key)).toBe(false);
    }
  });

  it.each([[''], [undefined], [null], [5], [{}], [['a']]])('%j is none, and is refused', async (key) => {
    const { cache: raw } = await openCache(database);
    const wrong = key as string;
    const shared = { tenant: 'shared' } as const;
    for (const call of [
      () => nest.cache.get(wrong, shared),
      () => nest.cache.set(wrong, 1, { untracked: true, ...shared }),
      () => nest.cache.getOrSet(wrong, async () => 1, { untracked: true, ...shared }),
      () => nest.cache.invalidatePattern(wrong, shared),
      () => raw.get(wrong),
      () => raw.set(wrong, 1),
      () => raw.getOrSet(wrong, async () => 1, { untracked: true }),
      () => raw.delete(wrong),
      () => raw.invalidatePattern(wrong),
    ])
      await expect(call()).rejects.toThrow(/must be a non-empty text/);
  });

  it('do not appear in messages', async () => {
    const call = nest.cache.getOrSet('secret-key', async () => 1, { tenant: 'shared' });
    await expect(call).rejects.toThrow(/^getOrSet says nothing about what it depends on/);
  });
});

describe('patterns', () => {
  const keys = ['a', 'ab', 'a:b', 'a*', 'a*b', 'a%', 'a_', 'a\\', 'a\\*', 'b', 'é:1', '👩:1', 'a\nb', 'a\0b'];
  const cases: [pattern: string, matched: string[]][] = [
    ['*', keys],
    ['a*', keys.filter((key) => key.startsWith('a'))],
    ['a', ['a']],
    ['a\\*', ['a*']],
    ['a\\**', ['a*', 'a*b']],
    ['a\\\\*', ['a\\', 'a\\*']],
    ['a%', ['a%']],
    ['a_', ['a_']],
    ['%', []],
    ['_', []],
    ['a?', []],
    ['*b', ['ab', 'a:b', 'a*b', 'b', 'a\nb', 'a\0b']],
    ['*:*', ['a:b', 'é:1', '👩:1']],
    ['👩*', ['👩:1']],
    ['é*', ['é:1']],
    ['**', keys],
    ["'; drop*", []],
  ];

  it.each(cases)('%j through CacheService, and leaves another tenant’s alone', async (pattern, matched) => {
    for (const tenant of ['mine', 'other'])
      await tenants.run(tenant, () => Promise.all(keys.map((key) => nest.cache.set(key, key))));
    await tenants.run('mine', async () => {
      expect(await nest.cache.invalidatePattern(pattern)).toBe(matched.length);
      expect([...(await nest.cache.getMany(keys)).keys()]).toEqual(keys.filter((key) => !matched.includes(key)));
    });
    expect((await tenants.run('other', () => nest.cache.getMany(keys))).size).toBe(keys.length);
  });

  // Control characters are stored under a digest by the raw engine: no pattern finds them, not even `*b`.
  const isPlain = (key: string): boolean => !/[\0\n]/.test(key);
  const plain = keys.filter(isPlain);

  it.each(cases)('%j through the raw engine, in all processes', async (pattern, matched) => {
    const [{ cache: one }, { cache: other }] = [await openCache(database), await openCache(database)];
    await one.setMany(plain.map((key) => [key, key]));
    expect((await other.getMany(plain)).size).toBe(plain.length);
    expect(await one.invalidatePattern(pattern)).toBe(matched.filter(isPlain).length);
    for (const cache of [one, other])
      expect([...(await cache.getMany(plain)).keys()]).toEqual(plain.filter((key) => !matched.includes(key)));
  });

  it('with control characters are refused by the raw engine, and harm nobody', async () => {
    const [{ cache: one }, { cache: other }] = [await openCache(database), await openCache(database)];
    for (const pattern of ['a\nb*', 'a\0*', '\ud800*', '\x7f*', `${'x'.repeat(3_000)}*`])
      await expect(one.invalidatePattern(pattern)).rejects.toThrow(CacheConfigurationError);
    for (const cache of [one, other] satisfies ResultCache[]) {
      expect(await cache.set('still', 'works')).toBe(true);
      expect(await cache.get('still')).toBe('works');
    }
  });

  it('find long keys by their beginning, or as a whole', async () => {
    const long = `report:${'x'.repeat(10_000)}`;
    await tenants.run('acme', async () => {
      for (const pattern of ['report:*', 'report:xx*', long]) {
        expect(await nest.cache.set(long, 1)).toBe(true);
        expect(await nest.cache.invalidatePattern(pattern)).toBe(1);
        expect(await nest.cache.exists(long)).toBe(false);
      }
      await expect(nest.cache.invalidatePattern(`${long}*`)).rejects.toThrow(/longer than any key can be/);
    });
  });

  it('leave decorated methods, queries and other caches alone', async () => {
    const { keys: builder, engine } = nest.cache;
    const others = [
      builder.buildKey({ queryName: 'kv', tenantId: 'acme' }),
      builder.buildKey({ queryName: 'users', tenantId: 'acme' }),
      builder.buildMethodKey({ name: 'kv', tenantId: 'acme', args: [] }),
      builder.buildValueKey({ key: 'a', tenantId: 'acme2' }),
      builder.buildValueKey({ key: 'a' }),
      caches[1]!.keys.buildValueKey({ key: 'a', tenantId: 'acme' }),
    ];
    for (const key of others) expect(await engine.set(key, 1)).toBe(true);
    expect(await tenants.run('acme', () => nest.cache.invalidatePattern('*'))).toBe(0);
    expect(await nest.cache.invalidatePattern('*', { tenant: 'shared' })).toBe(1);
    expect((await engine.getMany(others)).size).toBe(others.length - 1);
  });
});
