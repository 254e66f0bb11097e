import { describe, expect, it } from '@jest/globals';
import type { Request as ExpressRequest } from 'express';
import { CacheConfigurationError, MissingTenantError } from '../core/errors.js';
import { resolveTenancy, type TenancyOptions } from './tenancy-options.js';
import { type TenantRequest } from './tenant-request.js';
import { fromHeader } from './tenant-resolvers.js';
import { UnknownTenantError } from './unknown-tenant.error.js';

const wrong = (options: unknown) => () => resolveTenancy(options as TenancyOptions);
const request = { headers: { 'x-tenant-id': 'acme' } } as unknown as TenantRequest;

describe('resolveTenancy', () => {
  it.each(['off', 'optional', 'required'] as const)('takes %p as it is', (mode) => {
    expect(resolveTenancy(mode)).toEqual({ mode, resolver: undefined, setting: 'app.current_tenant_id' });
  });

  it('takes an object', () => {
    const resolver = fromHeader('x-tenant-id');
    expect(resolveTenancy({ mode: 'required', resolver, setting: 'my.tenant' })).toEqual({
      mode: 'required',
      resolver,
      setting: 'my.tenant',
    });
  });

  it("takes a resolver that is written for one framework's request type", () => {
    const resolver = (request: ExpressRequest) => request.get('x-tenant-id');
    expect(resolveTenancy({ mode: 'required', resolver }).resolver).toBe(resolver);
    // @ts-expect-error a resolver answers with an id, not with an object around it
    const wrongly: TenancyOptions = { mode: 'required', resolver: () => ({ id: 'acme' }) };
    expect(wrongly).toBeDefined();
  });

  it.each([
    ['missing', undefined],
    ['null', null],
    ['a boolean', true],
    ['another word', 'none'],
    ['without a mode', { resolver: fromHeader('x') }],
    ['an object that is off', { mode: 'off' }],
  ])('%s: names the three choices', (_, options) => {
    expect(wrong(options)).toThrow(CacheConfigurationError);
    expect(wrong(options)).toThrow(/'required'.*'optional'.*'off'/);
  });

  it.each([
    [{ mode: 'required', resolvers: fromHeader('x') }, 'tenancy.resolvers'],
    [{ mode: 'required', resolver: 'x-tenant-id' }, 'tenancy.resolver'],
    [{ mode: 'required', resolver: fromHeader('x'), knownTenant: ['acme'] }, 'tenancy.knownTenant'],
    [{ mode: 'required', knownTenant: () => true }, 'tenancy.knownTenant'],
    [{ mode: 'required', setting: 'tenant' }, 'tenancy.setting'],
    [{ mode: 'required', setting: "app.x', 'y" }, 'tenancy.setting'],
  ])('%j: says which part is wrong', (options, part) => {
    expect(wrong(options)).toThrow(CacheConfigurationError);
    expect(wrong(options)).toThrow(part);
  });

  it('asks knownTenant about what the resolver found', async () => {
    const asked: string[] = [];
    const tenancy = (known: boolean) =>
      resolveTenancy({
        mode: 'required',
        resolver: fromHeader('x-tenant-id'),
        knownTenant: async (id) => {
          asked.push(id);
          return known;
        },
      });
    await expect(tenancy(true).resolver?.(request)).resolves.toBe('acme');
    await expect(tenancy(false).resolver?.(request)).rejects.toThrow(UnknownTenantError);
    await expect(tenancy(false).resolver?.(request)).rejects.toThrow(MissingTenantError);
    expect(asked).toEqual(['acme', 'acme', 'acme']);
    expect(tenancy(false).resolver?.({ headers: {} })).toBeUndefined();
  });

  it('takes anything but true for a no', () => {
    const { resolver } = resolveTenancy({
      mode: 'required',
      resolver: fromHeader('x-tenant-id'),
      knownTenant: () => undefined as unknown as boolean,
    });
    expect(() => resolver?.(request)).toThrow(UnknownTenantError);
  });
});
