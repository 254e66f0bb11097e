import { describe, expect, it } from '@jest/globals';
import { CacheConfigurationError } from '../core/errors.js';
import { CacheModule } from './index.js';

const url = 'postgres://localhost/app';
const good = { connection: url, tenancy: 'off' as const };

/** Run it and hold the message to the rules: ours, one line, and the right one. */
function refuses(work: () => unknown, message: RegExp): void {
  let failure: Error | undefined;
  try {
    work();
  } catch (error) {
    failure = error as Error;
  }
  expect(failure).toBeInstanceOf(CacheConfigurationError);
  expect(failure!.message).toMatch(message);
  expect(failure!.message).not.toContain('\n');
}

describe('CacheModule.forRoot refuses', () => {
  const where = 'CacheModule\\.forRoot';
  it.each<[options: unknown, message: RegExp]>([
    [undefined, /forRoot\(\) needs options; write CacheModule\.forRoot\(\{ connection: process\.env\.DATABASE_URL/],
    [null, /needs options/],
    ['postgres://x', /needs options|there is no option '0'/],
    [{}, /connection is missing; write connection: process\.env\.DATABASE_URL \(and set it\)/],
    [{ tenancy: 'off', connection: undefined }, /connection is missing/],
    [{ tenancy: 'off', connection: null }, /connection is missing/],
    [{ connection: url }, /tenancy is not set\. Write tenancy: 'required'/],
    [{ ...good, tenancy: 'on' }, /tenancy is none of its choices\. Write/],
    [{ ...good, tenancy: true }, /tenancy is none of its choices/],
    [{ ...good, tenancy: { mode: 'off' } }, /tenancy\.mode is wrong/],
    [{ ...good, tenancy: { mode: 'required', resolve: 1 } }, /tenancy\.resolve is no option; there are mode, resolver/],
    [{ ...good, tenancy: { mode: 'required', resolver: 'x' } }, /tenancy\.resolver must be a function/],
    [{ ...good, ttl: 5 }, new RegExp(`${where}: there is no option 'ttl'; did you mean 'ttls'`)],
    [{ ...good, ttls: 5 }, /ttls is no object; write ttls: \{ user_profile: 300 \}/],
    [{ ...good, lifetime: 5 }, new RegExp(`${where}: there is no option 'lifetime'; known are`)],
    [{ ...good, defaultTTL: 5 }, /there is no option 'defaultTTL'; did you mean 'defaultTtl'\?/],
    [{ ...good, table: 'x' }, /there is no option 'table'; did you mean 'tableName'\?/],
    [{ ...good, '': 1 }, /there is no option ''; known are/],
    [{ ...good, defaultTtl: -1 }, new RegExp(`${where}: defaultTtl: -1 is not a time to live; write seconds`)],
    [{ ...good, defaultTtl: NaN }, /defaultTtl: NaN is not a time to live/],
    [{ ...good, defaultTtl: '300' }, /defaultTtl: "300" is not a time to live; .*a text with a unit \('5m'\)/],
    [{ ...good, defaultTtl: '-5m' }, /defaultTtl: "-5m" is not a time to live/],
    [
      { ...good, defaultTtl: '2h', maxTtl: '1h' },
      /defaultTtl "2h" is longer than maxTtl "1h"; shorten it or raise maxTtl/,
    ],
    [{ ...good, defaultTtl: '2d' }, /defaultTtl "2d" is longer than maxTtl 86400/],
    [{ ...good, lease: '10s' }, new RegExp(`${where}: lease: "10s" is unknown; write true, false, or`)],
    [{ ...good, lease: { time: 3 } }, new RegExp(`${where}: lease: there is no option 'time'; known are ttl, wait`)],
    [{ ...good, maxTtl: 0 }, /maxTtl \(seconds\): 0 is not a whole number; write one from 1 to/],
    [{ ...good, maxTtl: '500ms' }, /maxTtl \(seconds\): 0\.5 is not a whole number/],
    [{ ...good, maxTtl: 2 ** 40 }, /maxTtl \(seconds\): 1099511627776 is not a whole number/],
    [{ ...good, maxTtl: 'abc' }, /maxTtl: "abc" is not a time to live/],
    [{ ...good, tableName: '' }, /tableName: "" is not a table name; write 'fraiseql_cache'/],
    [{ ...good, tableName: 'a b' }, /tableName: "a b" is not a table name/],
    [{ ...good, tableName: 'a.b.c' }, /is not a table name/],
    [{ ...good, tableName: 'x; drop table users' }, /is not a table name/],
    [{ ...good, tableName: 7 }, /tableName: 7 is not a table name/],
    [{ ...good, tableName: 't'.repeat(51) }, /is longer than 50 bytes; choose a shorter one/],
    [{ ...good, partitions: -1 }, /partitions: -1 is not a whole number; write one from 0 to 1024/],
    [{ ...good, partitions: 1.5 }, /partitions: 1\.5 is not a whole number/],
    [{ ...good, maxValueBytes: 0 }, /maxValueBytes: 0 is not a whole number; write one from 1 to/],
    [{ ...good, maxValueBytes: '100kb' }, /maxValueBytes: "100kb" is not a whole number/],
    [{ ...good, enableStats: 'false' }, /enableStats: "false" is neither true nor false; write enableStats: false/],
    [{ ...good, autoInitialize: 0 }, /autoInitialize: 0 is neither true nor false/],
    [{ ...good, prepare: 'no' }, /prepare: "no" is neither true nor false/],
    [{ ...good, cacheStatusHeader: null }, /cacheStatusHeader: null is neither true nor false/],
    [{ ...good, isGlobal: 'false' }, /isGlobal is neither true nor false; write isGlobal: false/],
    [{ ...good, prefix: '' }, /prefix is no non-empty text; write prefix: 'shop'/],
    [{ ...good, prefix: 5 }, /prefix is no non-empty text/],
    [{ ...good, invalidation: 'none' }, /invalidation: "none" is unknown; write 'strict' or 'ttl'/],
    [{ ...good, poolSize: 0 }, /poolSize: 0 is not a whole number; write one from 1 to 1000/],
    [{ ...good, purgeInterval: 0 }, /purgeInterval: 0 would purge without a pause; write '5m', or false/],
    [{ ...good, purgeInterval: true }, /purgeInterval: true is not a time to live/],
    [{ ...good, purgeInterval: '30d' }, /purgeInterval is longer than a timer can wait/],
    [{ ...good, watch: 'users' }, /watch is no list; write watch: \[\{ table: 'users', domain: 'user' \}\]/],
    [{ ...good, watch: ['users'] }, /watch\[0\] is no object; write watch/],
    [{ ...good, watch: [null] }, /watch\[0\] is no object/],
    [{ ...good, watch: [{ table: 'users' }] }, /watch\[0\]: table and domain are needed; write/],
    [{ ...good, watch: [{ table: '', domain: 'user' }] }, /watch\[0\]: table and domain are needed/],
    [
      { ...good, watch: [{ table: 'users', domain: 'user', tenant: 'x' }] },
      /watch\[0\]: there is no option 'tenant'; did you mean 'tenantColumn'\?/,
    ],
    [{ ...good, watch: [{ table: 'users', domain: 'user', tenantColumn: '' }] }, /tenantColumn is no column's name/],
    [
      { ...good, watch: [{ table: 'users', domain: 'user', tagColumns: ['author_id'] }] },
      /tagColumns is no list of column groups; write tagColumns: \[\['author_id'\]\]/,
    ],
  ])('%j', (options, message) => {
    refuses(() => CacheModule.forRoot(options as never), message);
  });

  it('and takes what is right', () => {
    const all = {
      ...good,
      isGlobal: false,
      tableName: 'shop."Odd name"',
      defaultTtl: '5m',
      maxTtl: 3600,
      partitions: 4,
      maxValueBytes: 1,
      enableStats: false,
      prefix: 'shop:1',
      invalidation: 'ttl' as const,
      watch: [{ table: 'users', domain: 'user', tenantColumn: 'tenant_id', tagColumns: [['author_id']] }],
      autoInitialize: false,
      poolSize: 1,
      prepare: false,
      purgeInterval: false as const,
      cacheStatusHeader: false,
    };
    expect(CacheModule.forRoot(all)).toMatchObject({ global: false });
    expect(CacheModule.forRoot(good)).toMatchObject({ global: true });
    expect(CacheModule.forRoot({ ...good, isGlobal: undefined })).toMatchObject({ global: true });
  });
});

describe('CacheModule.forFeature refuses', () => {
  const name = 'reports';
  it.each<[options: unknown, message: RegExp]>([
    [
      undefined,
      /forFeature\(\) needs a name or entities: CacheModule\.forFeature\(\{ name: 'reports', defaultTtl: '1h' \}\)/,
    ],
    ['reports', /needs a name/],
    [{}, /needs a name/],
    [{ name: '' }, /needs a name/],
    [{ name: 5 }, /needs a name/],
    [{ name: 'default' }, /'default' is the module's own cache; choose another name/],
    [{ name, connection: url }, /forFeature\('reports'\): there is no option 'connection'; known are|did you mean/],
    [{ name, defaultTtl: -1 }, /forFeature\('reports'\): defaultTtl: -1 is not a time to live/],
    [{ name, prefix: '' }, /prefix is no non-empty text/],
    [{ name, invalidation: 'none' }, /invalidation: "none" is unknown/],
    [{ name, enableStats: 1 }, /enableStats: 1 is neither true nor false/],
    [{ name, tableName: 'a b' }, /is not a table name/],
  ])('%j', (options, message) => {
    refuses(() => CacheModule.forFeature(options as never), message);
  });
});

describe('CacheModule.forRootAsync refuses', () => {
  class Factory {
    createCacheOptions() {
      return good;
    }
  }
  const useFactory = () => good;
  it.each<[title: string, options: unknown, message: RegExp]>([
    ['nothing', undefined, /forRootAsync\(\) needs a source of options; write useFactory: /],
    ['no source', {}, /there is no source of options; write useFactory: .* or useClass or useExisting/],
    ['imports alone', { imports: [] }, /there is no source of options/],
    ['two sources', { useFactory, useClass: Factory }, /useFactory and useClass are two sources of options/],
    ['options in place of a source', good, /there is no option 'connection' here; what the source returns holds it/],
    ['an unknown key', { useFactory, injects: [] }, /there is no option 'injects'/],
    ['a useFactory that is none', { useFactory: good }, /useFactory is no function/],
    ['a useClass that is none', { useClass: good }, /useClass is no class/],
    ['a wrong isGlobal', { useFactory, isGlobal: 'no' }, /isGlobal is neither true nor false/],
  ])('%s', (_title, options, message) => {
    refuses(() => CacheModule.forRootAsync(options as never), message);
  });
});
