import { describe, expect, it } from '@jest/globals';
import { Scope } from '@nestjs/common';
import { DiscoveryModule } from '@nestjs/core';
import { Test } from '@nestjs/testing';
import { type CacheKeyBuilder, type CacheStore, ResultCache } from '../core/index.js';
import { type Tenancy, type TenantContext } from '../tenancy/index.js';
import { ApplicationCaches } from './application-caches.js';
import { CacheService } from './cache.service.js';

const cacheNamed = (name: string) => new ResultCache({ name, store: {} as CacheStore });
const serviceOf = (cache: ResultCache) =>
  new CacheService(cache, {} as CacheKeyBuilder, {} as Tenancy, {} as TenantContext);

describe('ApplicationCaches', () => {
  it('finds caches by themselves and behind services, under any token, each once', async () => {
    const main = cacheNamed('main');
    const testing = await Test.createTestingModule({
      imports: [DiscoveryModule],
      providers: [
        ApplicationCaches,
        { provide: 'reports', useFactory: async () => serviceOf(cacheNamed('reports')) },
        { provide: CacheService, useValue: serviceOf(main) },
        { provide: ResultCache, useValue: main },
        { provide: 'no cache', useValue: null },
        { provide: Symbol('another'), useValue: cacheNamed('another') },
      ],
    }).compile();
    expect(
      testing
        .get(ApplicationCaches)
        .all()
        .map(({ name }) => name),
    ).toEqual(['main', 'another', 'reports']);
  });

  it('leaves out the hollow instance of a request-scoped provider', async () => {
    class OfRequest extends ResultCache {
      constructor() {
        super({ name: 'of a request', store: {} as CacheStore });
      }
    }
    const testing = await Test.createTestingModule({
      imports: [DiscoveryModule],
      providers: [ApplicationCaches, { provide: ResultCache, useClass: OfRequest, scope: Scope.REQUEST }],
    }).compile();
    expect(testing.get(ApplicationCaches).all()).toEqual([]);
  });
});
