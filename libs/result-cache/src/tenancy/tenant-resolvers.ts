import { CacheConfigurationError, TenantMismatchError } from '../core/errors.js';
import { chain, type MaybePromise } from './maybe-promise.js';
import { toOptionalTenantId } from './tenant-id.js';
import { declareInputs, declareInputsOf } from './resolver-inputs.js';
import { isObject, propertyOf, requestOf, type TenantRequest, type TenantResolver } from './tenant-request.js';

/**
 * The tenant named by a request header. Anyone can send a header: behind a gateway that sets it that is fine, else
 * check it with {@link verified}. A header sent twice with different values is refused rather than picked from.
 *
 * @throws CacheConfigurationError if `name` is no header name.
 * @example tenancy: { mode: 'required', resolver: fromHeader('x-tenant-id') }
 */
export function fromHeader(name: string): TenantResolver {
  if (typeof name !== 'string' || !/^[!#$%&'*+.^_`|~\w-]+$/.test(name)) {
    throw new CacheConfigurationError(
      "fromHeader(name): name must be an HTTP header name. Write fromHeader('x-tenant-id').",
    );
  }
  const header = name.toLowerCase();
  const resolver: TenantResolver = (request) => {
    const [value, ...others] = headerValues(requestOf(request), header);
    if (others.some((other) => other !== value)) {
      throw new TenantMismatchError(`The request carries the header ${header} more than once, with different values.`);
    }
    return value === '' ? undefined : value;
  };
  return declareInputs(resolver, []);
}

/** Options of {@link fromSubdomain}. */
export interface SubdomainOptions {
  /** The domain tenants are labels of: `example.com` finds `acme` in `acme.example.com`. */
  baseDomain: string;
}

/**
 * The tenant named by the label in front of `baseDomain` in the Host header (lower-cased; a port is ignored). `www`, the bare domain, IP
 * addresses, other domains and deeper names (`a.b.example.com`) name no tenant. A reverse proxy must preserve Host.
 *
 * @throws CacheConfigurationError if `baseDomain` is not a bare domain name.
 * @example tenancy: { mode: 'required', resolver: fromSubdomain({ baseDomain: 'example.com' }) }
 */
export function fromSubdomain({ baseDomain }: SubdomainOptions): TenantResolver {
  if (typeof baseDomain !== 'string' || !/^[a-z\d_-]+(\.[a-z\d_-]+)*$/i.test(baseDomain)) {
    throw new CacheConfigurationError(
      'fromSubdomain({ baseDomain }): baseDomain must be a bare domain name, without scheme, port or leading dot. ' +
        "Write fromSubdomain({ baseDomain: 'example.com' }).",
    );
  }
  const suffix = `.${baseDomain.toLowerCase()}`;
  const resolver: TenantResolver = (request) => {
    const headers = requestOf(request)?.headers;
    // HTTP/2 calls the Host header `:authority`.
    const host = (headers?.host ?? headers?.[':authority']?.toString() ?? '').toLowerCase();
    const name = host.replace(/:\d*$/, '').replace(/\.$/, '');
    if (!name.endsWith(suffix)) return undefined;
    const label = name.slice(0, -suffix.length);
    return label !== 'www' && /^[a-z\d_-]+$/.test(label) ? label : undefined;
  };
  return declareInputs(resolver, []);
}

/** Options of {@link fromJwtClaim}. */
export interface JwtClaimOptions {
  /** Where your guard or Passport leaves the verified payload on the request; `user` by default. */
  property?: string;
}

/**
 * The tenant named by a claim of the token's payload, which a guard has verified and put on the request. Nothing is
 * decoded here: without that guard there is no payload, and then no tenant.
 *
 * @throws CacheConfigurationError if `claim` is empty, or later if the claim is present but no tenant id (a list, say):
 * taking that for "no tenant" would let an unverified header decide.
 * @example fromJwtClaim('tenant_id')                            // request.user.tenant_id
 * @example fromJwtClaim('https://example.com/tenant', { property: 'auth' })
 */
export function fromJwtClaim(claim: string, { property = 'user' }: JwtClaimOptions = {}): TenantResolver {
  if (typeof claim !== 'string' || claim === '') {
    throw new CacheConfigurationError(
      "fromJwtClaim(claim): claim must be the claim's name. Write fromJwtClaim('tenant_id').",
    );
  }
  const resolver: TenantResolver = (carrier) => {
    const request = requestOf(carrier);
    const payload = request && propertyOf(request, property);
    if (!isObject(payload)) return undefined;
    return toOptionalTenantId(payload[claim], `The claim ${claim} of request.${property}`);
  };
  return declareInputs(resolver, [property]);
}

/**
 * The first of several resolvers that finds a tenant; later ones are not asked.
 *
 * @example firstOf(fromJwtClaim('tenant_id'), fromSubdomain({ baseDomain: 'example.com' }))
 */
export function firstOf(...resolvers: TenantResolver[]): TenantResolver {
  if (resolvers.length === 0) {
    throw new CacheConfigurationError("firstOf() needs a resolver. Write firstOf(fromHeader('x-tenant-id'), …).");
  }
  const ask = (request: TenantRequest, index: number): MaybePromise<string | undefined> => {
    const resolver = resolvers[index];
    if (!resolver) return undefined;
    return chain(resolver(request), (value) => {
      return toOptionalTenantId(value, `Resolver ${index + 1} of firstOf()`) ?? ask(request, index + 1);
    });
  };
  return declareInputsOf((request) => ask(request, 0), resolvers);
}

/**
 * What the request claims (`primary`: a header, a subdomain), held against what is verified (`against`: the token). If only one of them
 * names a tenant, that one counts, so an anonymous request to a tenant's subdomain works; if both do, they must agree.
 *
 * A tenant that was taken at its word before authentication is held against the token as soon as there is one.
 *
 * @throws TenantMismatchError (HTTP 403) from the resolver, when they differ.
 * @example verified(fromHeader('x-tenant-id'), fromJwtClaim('tenant_id'))
 */
export function verified(primary: TenantResolver, against: TenantResolver): TenantResolver {
  const resolver: TenantResolver = (request) =>
    chain(primary(request), (claimed) =>
      chain(against(request), (proven) => {
        const claimedId = toOptionalTenantId(claimed, 'The first resolver of verified()');
        const provenId = toOptionalTenantId(proven, 'The second resolver of verified()');
        if (claimedId !== undefined && provenId !== undefined && claimedId !== provenId) {
          throw new TenantMismatchError('The request names a tenant that is not the one its credentials are for.');
        }
        return claimedId ?? provenId;
      }),
    );
  return declareInputsOf(resolver, [primary, against]);
}

function headerValues(request: TenantRequest | undefined, name: string): string[] {
  if (!request) return [];
  // Node joins repeated headers with a comma, which a tenant id may contain; only these forms tell them apart. The raw
  // one is looked at first, because the other would be made of all headers for the sake of one.
  const message = (request.raw ?? request) as { rawHeaders?: string[]; headersDistinct?: NodeJS.Dict<string[]> };
  const raw = rawValues(message.rawHeaders ?? [], name);
  if (raw.length > 0) return raw;
  const value = message.headersDistinct?.[name] ?? request.headers[name] ?? [];
  return Array.isArray(value) ? value : [value];
}

/** @param headers Names and values in turn, as they were sent. */
function rawValues(headers: readonly string[], name: string): string[] {
  const values: string[] = [];
  for (let index = 0; index + 1 < headers.length; index += 2) {
    const sent = headers[index]!;
    if (sent.length === name.length && sent.toLowerCase() === name) values.push(headers[index + 1]!);
  }
  return values;
}
