import { type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import { type MaybePromise } from './maybe-promise.js';
import { type TenantIdInput } from './tenant-id.js';

/** What resolvers may rely on in a request: Express's and Fastify's own request types both satisfy it. */
export interface TenantRequest {
  readonly headers: IncomingHttpHeaders;
  /** Fastify's way to the Node request. */
  readonly raw?: IncomingMessage;
}

/**
 * Finds the tenant of a request, or answers `undefined` when the request names none. May be asynchronous. It runs when the tenant is first
 * asked for, so what guards put on the request is there; until a tenant was found it runs again at every question.
 *
 * Declare the parameter as your framework's request type if you like: `(request: express.Request) => …`.
 */
export type TenantResolver = {
  // A method's parameter is checked bivariantly, which is what admits `express.Request` or `FastifyRequest` here.
  bivariant(request: TenantRequest): MaybePromise<TenantIdInput | null | undefined>;
}['bivariant'];

/**
 * The request inside what a framework hands around: an Express or Fastify request itself, or a GraphQL context
 * (`{ req }` by Apollo, `{ request }` by others, `{ extra: { request } }` by graphql-ws).
 */
export function requestOf(carrier: unknown): TenantRequest | undefined {
  if (!isObject(carrier)) return undefined;
  if (isObject(carrier['headers'])) return carrier as unknown as TenantRequest;
  const { req, request, extra } = carrier;
  for (const inner of [req, request, isObject(extra) ? extra['request'] : undefined]) {
    if (isObject(inner) && isObject(inner['headers'])) return inner as unknown as TenantRequest;
  }
  return undefined;
}

/** A property guards or Node-level middleware put on the request. Under Fastify the latter see only `raw`, so it counts too. */
export function propertyOf(request: TenantRequest, name: string): unknown {
  const own = (request as unknown as Record<string, unknown>)[name];
  return own ?? (request.raw as unknown as Record<string, unknown> | undefined)?.[name];
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
