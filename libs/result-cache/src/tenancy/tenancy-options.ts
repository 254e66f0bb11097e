import { CacheConfigurationError } from '../core/errors.js';
import { chain, type MaybePromise } from './maybe-promise.js';
import { declareInputsOf } from './resolver-inputs.js';
import { toOptionalTenantId } from './tenant-id.js';
import { isObject, type TenantResolver } from './tenant-request.js';
import { UnknownTenantError } from './unknown-tenant.error.js';

/**
 * - `required`: without a tenant a cached call throws `MissingTenantError`; nothing is read, nothing is stored.
 * - `optional`: calls without a tenant share one space, apart from every tenant's.
 * - `off`: there are no tenants; everybody shares every entry.
 */
export type TenancyMode = 'required' | 'optional' | 'off';

/** How the cache tells tenants apart. There is no default: sharing entries between tenants must be somebody's decision. */
export type TenancyOptions =
  | TenancyMode
  | {
      mode: 'required' | 'optional';
      /** Finds the tenant of a request. Without one, a tenant is known only inside `tenantContext.run()`. */
      resolver?: TenantResolver;
      /** The PostgreSQL setting `TenantContext.applyTo()` writes and your policies read; `app.current_tenant_id` by default. */
      setting?: string;
      /** Whether such a tenant exists. Asked once a request for what `resolver` found; a "no" is HTTP 400. */
      knownTenant?: (tenantId: string) => boolean | Promise<boolean>;
    };

/** {@link TenancyOptions} in one shape. `resolver` includes the `knownTenant` check, so nobody can forget to make it. */
export interface Tenancy {
  readonly mode: TenancyMode;
  readonly resolver: TenantResolver | undefined;
  readonly setting: string;
}

/** Injection token of the application's {@link Tenancy}. */
export const TENANCY = Symbol('nestjs-result-cache:TENANCY');

/** The PostgreSQL setting that row-level security finds the tenant in, where no other is named. */
export const DEFAULT_TENANT_SETTING = 'app.current_tenant_id';

const CHOICES =
  "Write tenancy: 'required' (a call without a tenant fails), 'optional' (calls without a tenant share one space) or 'off' (there are no " +
  "tenants), or { mode: 'required' | 'optional', resolver: fromHeader('x-tenant-id') }.";

/**
 * Checks and normalises the `tenancy` option.
 *
 * @throws CacheConfigurationError if it is missing or wrong; the message names the choices.
 */
export function resolveTenancy(options: TenancyOptions): Tenancy {
  // Options also come from JavaScript and from configuration files, so the type is no proof.
  const given: unknown = options;
  if (given === undefined || given === null) throw new CacheConfigurationError(`tenancy is not set. ${CHOICES}`);
  if (isMode(given)) return Object.freeze({ mode: given, resolver: undefined, setting: DEFAULT_TENANT_SETTING });
  if (!isObject(given)) throw new CacheConfigurationError(`tenancy is none of its choices. ${CHOICES}`);

  const { mode, resolver, setting = DEFAULT_TENANT_SETTING, knownTenant, ...unknown } = given;
  if (!isMode(mode) || mode === 'off') throw new CacheConfigurationError(`tenancy.mode is wrong. ${CHOICES}`);
  const [stranger] = Object.keys(unknown);
  if (stranger !== undefined) {
    throw new CacheConfigurationError(
      `tenancy.${stranger} is no option; there are mode, resolver, setting and knownTenant.`,
    );
  }
  if (resolver !== undefined && typeof resolver !== 'function') {
    throw new CacheConfigurationError(
      "tenancy.resolver must be a function. Write resolver: fromHeader('x-tenant-id').",
    );
  }
  if (knownTenant !== undefined && typeof knownTenant !== 'function') {
    throw new CacheConfigurationError('tenancy.knownTenant must be a function: (tenantId) => boolean.');
  }
  if (knownTenant !== undefined && resolver === undefined) {
    throw new CacheConfigurationError(
      'tenancy.knownTenant checks what tenancy.resolver finds, and there is no resolver. Add one, or remove knownTenant.',
    );
  }
  if (typeof setting !== 'string' || !/^[a-z_][\w$]*(\.[a-z_][\w$]*)+$/i.test(setting)) {
    throw new CacheConfigurationError(
      `tenancy.setting must be the name of a custom PostgreSQL setting, with a dot in it, such as '${DEFAULT_TENANT_SETTING}'.`,
    );
  }
  return Object.freeze({
    mode,
    resolver: resolver && onlyKnown(resolver as TenantResolver, knownTenant as KnownTenant | undefined),
    setting,
  });
}

type KnownTenant = (tenantId: string) => MaybePromise<boolean>;

function onlyKnown(resolver: TenantResolver, knownTenant: KnownTenant | undefined): TenantResolver {
  if (!knownTenant) return resolver;
  const checked: TenantResolver = (request) =>
    chain(resolver(request), (value) => {
      const tenantId = toOptionalTenantId(value, 'tenancy.resolver');
      if (tenantId === undefined) return undefined;
      return chain(knownTenant(tenantId), (known) => {
        if (known !== true)
          throw new UnknownTenantError('The request names a tenant that tenancy.knownTenant rejects.');
        return tenantId;
      });
    });
  return declareInputsOf(checked, [resolver]);
}

function isMode(value: unknown): value is TenancyMode {
  return value === 'required' || value === 'optional' || value === 'off';
}
