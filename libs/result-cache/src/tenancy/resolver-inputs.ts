import { propertyOf, type TenantRequest, type TenantResolver } from './tenant-request.js';

const inputs = new WeakMap<TenantResolver, readonly string[]>();

/** What most guards set; assumed of a resolver that did not say what it reads. */
const BY_DEFAULT: readonly string[] = ['user'];

/**
 * Notes which properties a resolver reads that guards may set or replace during the request. A remembered tenant counts
 * only while they are what they were: a GraphQL field with a guard of its own may authenticate a request that a public field
 * has already taken at its header's word.
 */
export function declareInputs(resolver: TenantResolver, properties: readonly string[]): TenantResolver {
  inputs.set(resolver, properties);
  return resolver;
}

export function inputsOf(resolver: TenantResolver): readonly string[] {
  return inputs.get(resolver) ?? BY_DEFAULT;
}

/** For a resolver made of others. */
export function declareInputsOf(resolver: TenantResolver, parts: readonly TenantResolver[]): TenantResolver {
  return declareInputs(resolver, [...new Set(parts.flatMap(inputsOf))]);
}

/** Most resolvers read none, and this is asked several times a request. */
const NONE: readonly unknown[] = [];

export function readInputs(resolver: TenantResolver, request: TenantRequest | undefined): readonly unknown[] {
  const names = inputsOf(resolver);
  return request === undefined || names.length === 0 ? NONE : names.map((name) => propertyOf(request, name));
}
