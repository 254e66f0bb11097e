import { afterAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import {
  CacheConfigurationError,
  CacheKeyBuilder,
  CacheModule,
  CacheQuery,
  CacheResult,
  installScript,
  InvalidatesDomain,
  PostgresCache,
  ResultCache,
  type EntryOptions,
} from 'nestjs-result-cache';
import { compileRules } from '../../libs/result-cache/src/cascade/compile-rules.js';
import { parsePattern } from '../../libs/result-cache/src/core/pattern.js';
import { fuzz, hostile, mangled } from '../support/fuzz.js';

/** Options are taken, or refused with a word for whoever wrote them: nothing else may come of them. */
function takenOrRefused(work: () => unknown): void {
  try {
    work();
  } catch (error) {
    if (!(error instanceof CacheConfigurationError)) throw error;
    expect(error.message.length).toBeGreaterThan(20);
  }
}

const NOWHERE = 'postgres://nobody@localhost:1/nowhere';
const stores: PostgresCache[] = [];
const store = new PostgresCache({ connection: NOWHERE });
stores.push(store);
const cache = new ResultCache({ store });
afterAll(async () => {
  cache.stop();
  await Promise.all(stores.map((each) => each.close()));
});

const ENTRY = {
  ttl: [0, 60, '5m', { named: 'x' }],
  domains: [['user'], ['user', 'post'], [], 'infer'],
  tags: [['a'], []],
  rows: [[['user', { id: 42 }]], [['user', { id: 42n }, true]], []],
  untracked: [true, false],
  discovers: [true, false],
  freshness: ['strict', { maxStaleness: '50ms' }],
  lease: [true, false, { ttl: '10s', wait: 1 }],
  view: ['users'],
  tenantId: ['acme'],
  classes: [[], [Date], [class Money {}]],
};
const CACHE = {
  tableName: ['answers', 'public.answers', '"My table"'],
  defaultTtl: [60, '5m'],
  maxTtl: [3_600, '1d'],
  partitions: [0, 4],
  maxValueBytes: [1, 100_000],
  enableStats: [true, false],
  prefix: ['shop'],
  invalidation: ['strict', 'ttl'],
  freshness: ['strict', { maxStaleness: '50ms' }],
  memory: [false, {}, { maxEntries: 10, maxBytes: 1_000, ttl: '5s' }],
  lease: [true, false, { ttl: '10s' }],
};
const MODULE = {
  ...CACHE,
  connection: [NOWHERE],
  ttls: [{ x: 60 }, {}],
  tenancy: ['off', 'required', 'optional', { mode: 'required' }, { mode: 'optional', setting: 'my.tenant' }],
  watch: [[], [{ table: 'users', domain: 'user', tenantColumn: 'tenant_id', tagColumns: [['id']] }]],
  inference: [{}, { functions: { 'public.f()': ['user'] } }],
  autoInitialize: [true, false],
  rowLevelSecurity: [true, false],
  poolSize: [1, 4],
  prepare: [true, false],
  timeout: [250, Infinity],
  purgeInterval: [false, '5m'],
  cacheStatusHeader: [true, false],
};

describe('whatever they are, options are taken or refused', () => {
  it('of an entry', () => {
    fuzz(
      fc.property(fc.oneof(mangled(ENTRY), hostile), (options) => {
        takenOrRefused(() => cache.policy(options as EntryOptions));
      }),
      3_000,
    );
  });

  it('of an entry, in a call that is not configured: it rejects and never throws', async () => {
    await fuzz(
      fc.asyncProperty(fc.oneof(mangled(ENTRY), hostile), hostile, async (options, key) => {
        const calls: (() => Promise<unknown>)[] = [
          () => cache.getOrSet(key as string, async () => 1, { ...(options as EntryOptions), ttl: 0 }),
          () => cache.set(key as string, 1, { ...(options as EntryOptions), ttl: 0 }),
        ];
        for (const call of calls)
          await call().catch((error: unknown) => expect(error).toBeInstanceOf(CacheConfigurationError));
      }),
      1_000,
    );
  });

  it('of the module, and of a cache with a name', () => {
    fuzz(
      fc.property(fc.oneof(mangled(MODULE), hostile), (options) => {
        const given = typeof options === 'object' ? { connection: NOWHERE, tenancy: 'off', ...options } : options;
        takenOrRefused(() => CacheModule.forRoot(given as never));
        takenOrRefused(() => CacheModule.forFeature({ name: 'x', ...(options as object) }));
        takenOrRefused(() => CacheModule.forFeature(options as never));
      }),
      3_000,
    );
  });

  it('of the engine', () => {
    const engine = {
      ...CACHE,
      name: ['x'],
      ttls: [{ x: 60 }],
      timeout: [250, Infinity],
    };
    fuzz(
      fc.property(fc.oneof(mangled(engine), hostile), (options) => {
        takenOrRefused(() => new ResultCache({ ...(options as object), store }).stop());
      }),
      1_500,
    );
  });

  it('of the store, and of the script that installs it', () => {
    const { tableName, partitions, watch, autoInitialize, prepare, inference, rowLevelSecurity } = MODULE;
    const own = { tableName, maxTtl: [60], partitions, watch, autoInitialize, prepare, inference, rowLevelSecurity };
    fuzz(
      fc.property(fc.oneof(mangled({ ...own, role: ['app'] }), hostile), (options) => {
        takenOrRefused(() => stores.push(new PostgresCache({ connection: NOWHERE, ...(options as object) })));
        takenOrRefused(() => installScript(options as object));
      }),
      500,
    );
  });

  it('of decorators', () => {
    const decorated = {
      ...ENTRY,
      key: [() => 1],
      varyBy: [() => ({})],
      tenant: ['shared'],
      when: [() => true],
      cache: ['x'],
    };
    fuzz(
      fc.property(fc.oneof(mangled(decorated), hostile), hostile, (options, domain) => {
        for (const decorator of [CacheResult, CacheQuery] as ((given: any) => MethodDecorator)[])
          takenOrRefused(() => {
            class Service {
              method(): number {
                return 1;
              }
            }
            const descriptor = Object.getOwnPropertyDescriptor(Service.prototype, 'method')!;
            decorator(options)(Service.prototype, 'method', descriptor);
          });
        takenOrRefused(() => InvalidatesDomain(domain as string));
      }),
      2_000,
    );
  });
});

describe('whatever they are, arguments are taken or refused', () => {
  const keys = new CacheKeyBuilder();

  it('of keys', () => {
    const parts = {
      queryName: ['users'],
      tenantId: ['acme'],
      filters: [{ a: 1, b__in: [1, 2] }],
      orderBy: [[['a', 'ASC']]],
      limit: [1],
      offset: [2],
    };
    fuzz(
      fc.property(mangled(parts), hostile, (given, value) => {
        takenOrRefused(() => keys.buildKey({ queryName: 'users', ...given }));
        takenOrRefused(() => keys.buildValueKey({ key: value as string }));
        takenOrRefused(() => keys.buildMethodKey({ name: 'A.b', args: [value] }));
      }),
      3_000,
    );
  });

  it('of patterns', () => {
    fuzz(
      fc.property(fc.string({ unit: 'binary', maxLength: 40 }), fc.string({ unit: 'binary' }), (pattern, key) => {
        takenOrRefused(() => parsePattern(pattern).matches(key));
      }),
      2_000,
    );
  });

  it('of cascade rules', () => {
    const columns = { id: 'integer', name: 'text', published: 'boolean', state: 'enum', ref: 'uuid', at: null };
    const catalogue = new Map([
      ['user', { key: ['id'], columns }],
      ['post', { key: ['id', 'name'], columns: { ...columns, author_id: 'integer', __proto__: null } }],
      ['__proto__', { key: [], columns: {} }],
    ]);
    const rule = {
      source: ['user', 'post', '__proto__'],
      cascadeTo: [['post'], ['post:author:{id}'], ['user:{id}', '@front {name}'], ['post:*', 'user:{id}:followers']],
      condition: [{ published: true }, { name: ['a', null] }, { id: 5 }, null],
      columns: [['name'], ['id', 'name']],
      maxDepth: [1, 3],
      name: ['drafts'],
    };
    const piece = fc.constantFrom(
      'user',
      'post',
      ':',
      '{',
      '}',
      '*',
      '@',
      'id',
      'author',
      '__proto__',
      '\0',
      '{id}',
      ' ',
    );
    const pattern = fc.array(piece, { maxLength: 6 }).map((pieces) => pieces.join(''));
    fuzz(
      fc.property(fc.array(fc.oneof(mangled(rule), hostile), { maxLength: 3 }), pattern, (rules, wild) => {
        takenOrRefused(() => compileRules(rules as never, catalogue));
        takenOrRefused(() => compileRules([{ source: 'user', cascadeTo: [wild] }], catalogue));
      }),
      2_000,
    );
  });
});
