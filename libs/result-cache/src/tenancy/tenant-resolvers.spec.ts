import { describe, expect, it } from '@jest/globals';
import { CacheConfigurationError, TenantMismatchError } from '../core/errors.js';
import { type TenantRequest } from './tenant-request.js';
import { firstOf, fromHeader, fromJwtClaim, fromSubdomain, verified } from './tenant-resolvers.js';

const request = (headers: Record<string, string | string[]>, more: object = {}) =>
  ({ headers, ...more }) as unknown as TenantRequest;
const withHost = (host: string) => request({ host });

describe('fromHeader', () => {
  const resolve = fromHeader('X-Tenant-Id');

  it('reads the header whatever its case was when configured', () => {
    expect(resolve(request({ 'x-tenant-id': 'acme' }))).toBe('acme');
  });

  it.each<[string, object]>([
    ['an Apollo context', { req: request({ 'x-tenant-id': 'acme' }) }],
    ['a Mercurius context', { request: request({ 'x-tenant-id': 'acme' }) }],
    ['a graphql-ws context', { extra: { request: request({ 'x-tenant-id': 'acme' }) } }],
  ])('finds the request in %s', (_, context) => {
    expect(resolve(context as unknown as TenantRequest)).toBe('acme');
  });

  it('finds nothing in a missing or empty header, or where there is no request', () => {
    expect(resolve(request({}))).toBeUndefined();
    expect(resolve(request({ 'x-tenant-id': '' }))).toBeUndefined();
    expect(resolve({} as TenantRequest)).toBeUndefined();
    expect(resolve(undefined as unknown as TenantRequest)).toBeUndefined();
  });

  it('refuses to pick from a header sent twice', () => {
    const twice = { headersDistinct: { 'x-tenant-id': ['mine', 'theirs'] } };
    expect(() => resolve(request({ 'x-tenant-id': 'mine, theirs' }, twice))).toThrow(TenantMismatchError);
    expect(() => resolve(request({ 'x-tenant-id': 'mine, theirs' }, { raw: twice }))).toThrow(TenantMismatchError);
    expect(resolve(request({}, { headersDistinct: { 'x-tenant-id': ['same', 'same'] } }))).toBe('same');
    const raw = (...values: string[]) => ({ rawHeaders: values.flatMap((value) => ['X-Tenant-Id', value]) });
    expect(() => resolve(request({ 'x-tenant-id': 'mine, theirs' }, raw('mine', 'theirs')))).toThrow(
      TenantMismatchError,
    );
    expect(() => resolve(request({}, { raw: raw('mine', '', 'mine') }))).toThrow(TenantMismatchError);
    expect(resolve(request({}, raw('same', 'same')))).toBe('same');
    expect(resolve(request({ 'x-tenant-id': 'acme' }, { rawHeaders: ['host', 'x-tenant-id'] }))).toBe('acme');
  });

  it('refuses a name that is none', () => {
    expect(() => fromHeader('')).toThrow(CacheConfigurationError);
    expect(() => fromHeader('x tenant')).toThrow(/fromHeader\('x-tenant-id'\)/);
  });
});

describe('fromSubdomain', () => {
  const resolve = fromSubdomain({ baseDomain: 'Example.com' });

  it.each([
    ['acme.example.com', 'acme'],
    ['ACME.Example.COM', 'acme'],
    ['acme.example.com:3000', 'acme'],
    ['acme.example.com.', 'acme'],
    ['tenant_1.example.com', 'tenant_1'],
  ])('%s is tenant %s', (host, tenant) => {
    expect(resolve(withHost(host))).toBe(tenant);
  });

  it.each([
    'example.com',
    'www.example.com',
    'WWW.example.com:80',
    'a.b.example.com',
    'acmeexample.com',
    'acme.example.com.evil.org',
    'acme.other.com',
    '10.0.0.1:3000',
    '[::1]:3000',
    '.example.com',
    'a b.example.com',
    '',
  ])('%p is nobody', (host) => {
    expect(resolve(withHost(host))).toBeUndefined();
  });

  it('takes no part of an IP address for a label', () => {
    expect(fromSubdomain({ baseDomain: 'localhost' })(withHost('127.0.0.1'))).toBeUndefined();
    expect(fromSubdomain({ baseDomain: 'localhost' })(withHost('acme.localhost:3000'))).toBe('acme');
  });

  it('reads :authority under HTTP/2', () => {
    expect(resolve(request({ ':authority': 'acme.example.com' }))).toBe('acme');
  });

  it.each(['', '.example.com', 'https://example.com', 'example.com:80'])('refuses baseDomain %p', (baseDomain) => {
    expect(() => fromSubdomain({ baseDomain })).toThrow(CacheConfigurationError);
  });
});

describe('fromJwtClaim', () => {
  const resolve = fromJwtClaim('tenant_id');

  it('reads the payload a guard left on the request', () => {
    expect(resolve(request({}, { user: { tenant_id: 'acme' } }))).toBe('acme');
    expect(resolve(request({}, { user: { tenant_id: 42 } }))).toBe('42');
    expect(
      fromJwtClaim('https://x.example/t', { property: 'auth' })(request({}, { auth: { 'https://x.example/t': 'a' } })),
    ).toBe('a');
  });

  it('reads what Node-level middleware left on the raw request', () => {
    expect(resolve(request({}, { raw: { user: { tenant_id: 'acme' } } }))).toBe('acme');
  });

  it('never decodes a token itself', () => {
    const token = `x.${Buffer.from('{"tenant_id":"acme"}').toString('base64url')}.y`;
    expect(resolve(request({ authorization: `Bearer ${token}` }))).toBeUndefined();
    expect(resolve(request({}, { user: token }))).toBeUndefined();
  });

  it('fails on a claim that is present but no tenant, instead of leaving the decision to a header', () => {
    for (const tenant_id of ['', ['a', 'b'], { id: 1 }, true]) {
      expect(() => resolve(request({}, { user: { tenant_id } }))).toThrow(CacheConfigurationError);
    }
  });
});

describe('firstOf', () => {
  it('stops at the first that finds one, be it asynchronous or not', async () => {
    const asked: string[] = [];
    const answering = (name: string, answer: string | null | Promise<string | undefined>) => () => {
      asked.push(name);
      return answer;
    };
    const resolve = firstOf(
      answering('a', null),
      answering('b', Promise.resolve(undefined)),
      answering('c', 'acme'),
      answering('d', 'x'),
    );
    await expect(resolve(request({}))).resolves.toBe('acme');
    expect(asked).toEqual(['a', 'b', 'c']);
  });

  it('stays synchronous when its resolvers are', () => {
    expect(firstOf(fromHeader('a'), fromHeader('b'))(request({ b: 'acme' }))).toBe('acme');
    expect(firstOf(fromHeader('a'))(request({}))).toBeUndefined();
  });

  it('refuses an empty list', () => {
    expect(() => firstOf()).toThrow(CacheConfigurationError);
  });
});

describe('verified', () => {
  const resolve = verified(fromHeader('x-tenant-id'), fromJwtClaim('tenant_id'));

  it('lets both agree, across number and text', () => {
    expect(resolve(request({ 'x-tenant-id': '42' }, { user: { tenant_id: 42 } }))).toBe('42');
  });

  it('takes the one there is', () => {
    expect(resolve(request({ 'x-tenant-id': 'acme' }))).toBe('acme');
    expect(resolve(request({}, { user: { tenant_id: 'acme' } }))).toBe('acme');
    expect(resolve(request({}))).toBeUndefined();
  });

  it('refuses a contradiction, naming neither tenant', async () => {
    const spoofed = request({ 'x-tenant-id': 'victim' }, { user: { tenant_id: 'thief' } });
    expect(() => resolve(spoofed)).toThrow(TenantMismatchError);
    expect(() => resolve(spoofed)).toThrow(/^(?!.*(victim|thief))/);
    const asynchronous = verified(async () => 'victim', fromJwtClaim('tenant_id'));
    await expect(asynchronous(spoofed)).rejects.toThrow(TenantMismatchError);
  });
});
