import type { Provider } from '@nestjs/common';
import { APP_FILTER, APP_GUARD, APP_INTERCEPTOR } from '@nestjs/core';
import { type TENANCY, type Tenancy } from './tenancy-options.js';
import { TenantContext } from './tenant-context.js';
import { TenantEnhancer } from './tenant-enhancer.js';
import { TenantExceptionFilter } from './tenant-exception.filter.js';
import { tenantIdProvider } from './tenant-id.provider.js';
import { TenantMiddleware } from './tenant.middleware.js';

/**
 * Everything a module registers for tenancy, for `@Module({ providers })`. The module also applies `TenantMiddleware`
 * to all routes and exports `TenantContext` and `TENANT_ID`.
 *
 * @param tenancy a provider of {@link TENANCY}, so that options may come from an async factory.
 */
export function tenancyProviders(tenancy: Provider<Tenancy> & { provide: typeof TENANCY }): Provider[] {
  return [
    tenancy,
    TenantContext,
    TenantMiddleware,
    TenantEnhancer,
    tenantIdProvider,
    { provide: APP_GUARD, useExisting: TenantEnhancer },
    { provide: APP_INTERCEPTOR, useExisting: TenantEnhancer },
    { provide: APP_FILTER, useClass: TenantExceptionFilter },
  ];
}
