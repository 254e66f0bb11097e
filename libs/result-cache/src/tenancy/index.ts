export {
  DEFAULT_TENANT_SETTING,
  resolveTenancy,
  TENANCY,
  type Tenancy,
  type TenancyMode,
  type TenancyOptions,
} from './tenancy-options.js';
export { tenancyProviders } from './tenancy.providers.js';
export { TenantContext } from './tenant-context.js';
export { TenantEnhancer } from './tenant-enhancer.js';
export { TenantExceptionFilter } from './tenant-exception.filter.js';
export { type TenantIdInput } from './tenant-id.js';
export { TENANT_ID, tenantIdProvider } from './tenant-id.provider.js';
export { TenantMiddleware } from './tenant.middleware.js';
export { type TenantRequest, type TenantResolver } from './tenant-request.js';
export {
  firstOf,
  fromHeader,
  fromJwtClaim,
  fromSubdomain,
  verified,
  type JwtClaimOptions,
  type SubdomainOptions,
} from './tenant-resolvers.js';
export { type TransactionHandle } from './tenant-setting.js';
export { UnknownTenantError } from './unknown-tenant.error.js';
