import { describe, expect, it } from '@jest/globals';
import { setImmediate as turn } from 'node:timers/promises';
import { CacheConfigurationError, MissingTenantError, TenantMismatchError } from '../core/errors.js';
import { TenantContext } from './tenant-context.js';
import { type TenantRequest } from './tenant-request.js';
import { fromHeader, fromJwtClaim, verified } from './tenant-resolvers.js';

describe('TenantContext', () => {
  const context = new TenantContext();

  describe('outside any scope', () => {
    it('knows nobody and says what to do', async () => {
      expect(context.isActive()).toBe(false);
      expect(context.current()).toBeUndefined();
      expect(() => context.require()).toThrow(MissingTenantError);
      expect(() => context.require()).toThrow(/tenantContext\.run\(tenantId/);
      await expect(context.resolveRequired()).rejects.toThrow(MissingTenantError);
    });
  });

  describe('run', () => {
    it('gives its tenant to everything started inside', async () => {
      const seen = await context.run('acme', async () => {
        await turn();
        return [context.current(), context.require(), await context.resolve(), context.isActive()];
      });
      expect(seen).toEqual(['acme', 'acme', 'acme', true]);
      expect(context.isActive()).toBe(false);
    });

    it('nests and restores, also after a failure', () => {
      context.run('outer', () => {
        expect(() =>
          context.run('inner', () => {
            throw new Error(context.current());
          }),
        ).toThrow('inner');
        expect(context.current()).toBe('outer');
      });
    });

    it('keeps concurrent jobs apart', async () => {
      const tenants = Array.from({ length: 60 }, (_, index) => `t${index % 3}`);
      const seen = await Promise.all(
        tenants.map((tenant) =>
          context.run(tenant, async () => {
            await turn();
            await turn();
            return context.current();
          }),
        ),
      );
      expect(seen).toEqual(tenants);
    });

    it('converts numbers and bigints, and refuses what is no id before running anything', () => {
      expect(context.run(7, () => context.current())).toBe('7');
      expect(context.run(7n, () => context.current())).toBe('7');
      let ran = false;
      expect(() =>
        context.run('', () => {
          ran = true;
        }),
      ).toThrow(CacheConfigurationError);
      expect(() =>
        context.run(undefined as unknown as string, () => {
          ran = true;
        }),
      ).toThrow(/tenantContext\.run\(\)/);
      expect(ran).toBe(false);
    });
  });

  describe('runLazily', () => {
    it('asks the resolver when first asked, and once', () => {
      let asked = 0;
      const resolver = () => {
        asked++;
        return 'acme';
      };
      context.runLazily(resolver, () => {
        expect(asked).toBe(0);
        expect([context.current(), context.require(), context.current()]).toEqual(['acme', 'acme', 'acme']);
        expect(asked).toBe(1);
      });
    });

    it('asks an asynchronous resolver once for all who ask meanwhile, and then answers synchronously', async () => {
      let asked = 0;
      const resolver = async () => {
        asked++;
        await turn();
        return 'acme';
      };
      await context.runLazily(resolver, async () => {
        const both = Promise.all([context.resolve(), context.resolveRequired()]);
        expect(() => context.current()).toThrow(/await tenantContext\.resolve\(\)/);
        expect(() => context.require()).toThrow(CacheConfigurationError);
        await expect(both).resolves.toEqual(['acme', 'acme']);
        expect(context.require()).toBe('acme');
        expect(asked).toBe(1);
      });
    });

    it('does not remember that there was nobody: a guard may be about to run', () => {
      const request: { headers: object; user?: object } = { headers: {} };
      context.runLazily(
        fromJwtClaim('tenant_id'),
        () => {
          expect(context.current()).toBeUndefined();
          expect(() => context.require()).toThrow(/found no tenant in this request/);
          request.user = { tenant_id: 'acme' };
          expect(context.current()).toBe('acme');
        },
        request,
      );
    });

    it('does not remember a failure, and leaves no rejection unhandled', async () => {
      let fails = true;
      const resolver = async () => {
        if (fails) throw new Error('directory is down');
        return 'acme';
      };
      await context.runLazily(resolver, async () => {
        expect(() => context.current()).toThrow(CacheConfigurationError);
        await turn();
        await expect(context.resolve()).rejects.toThrow('directory is down');
        fails = false;
        await expect(context.resolve()).resolves.toBe('acme');
      });
    });

    it('holds a remembered header against the token as soon as a guard supplies one', () => {
      const request: { headers: object; user?: object } = { headers: { 'x-tenant-id': 'victim' } };
      context.runLazily(
        verified(fromHeader('x-tenant-id'), fromJwtClaim('tenant_id')),
        () => {
          expect(context.current()).toBe('victim');
          request.user = { tenant_id: 'thief' };
          expect(() => context.current()).toThrow(TenantMismatchError);
          expect(() => context.current()).toThrow(TenantMismatchError);
        },
        request,
      );
    });

    it('hands a resolver the request inside a GraphQL context', () => {
      const req = { headers: {} };
      const seen: TenantRequest[] = [];
      context.runLazily(
        (request) => {
          seen.push(request);
          return 'a';
        },
        () => context.current(),
        { req },
      );
      expect(seen).toEqual([req]);
    });

    it('refuses what is no id, from a resolver too', async () => {
      expect(() =>
        context.runLazily(
          () => '',
          () => context.current(),
        ),
      ).toThrow(/The tenancy resolver gave an empty string/);
      await expect(
        context.runLazily(
          async () => ({}) as string,
          async () => context.resolve(),
        ),
      ).rejects.toThrow(CacheConfigurationError);
    });

    it('lets a resolver call code that asks for the tenant, without waiting for itself', async () => {
      const resolver = async () => {
        await turn();
        expect(await context.resolve()).toBeUndefined();
        await expect(context.resolveRequired()).rejects.toThrow(/while the tenant itself was being resolved/);
        return 'acme';
      };
      await context.runLazily(resolver, async () => {
        await expect(context.resolve()).resolves.toBe('acme');
      });
    });

    it('can be overridden by run() inside', () => {
      context.runLazily(
        () => 'request',
        () => {
          expect(context.run('job', () => context.current())).toBe('job');
          expect(context.current()).toBe('request');
        },
      );
    });
  });
});
