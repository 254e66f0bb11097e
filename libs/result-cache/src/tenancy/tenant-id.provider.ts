import { type FactoryProvider, Scope } from '@nestjs/common';
import { MissingTenantError, TenantMismatchError } from '../core/errors.js';
import { TENANCY, type Tenancy } from './tenancy-options.js';
import { TenantContext } from './tenant-context.js';
import { toHttpException } from './tenant-exception.filter.js';

/**
 * Injects the tenant of the request as a string: `@Inject(TENANT_ID) private readonly tenantId: string`. Under
 * `'optional'` and `'off'` it may be `undefined`.
 *
 * Two prices to know. Who injects it becomes request-scoped, with everything that depends on it (no lifecycle hooks, no
 * `@Interval`). And Nest creates request-scoped providers **before** guards run: with a resolver that reads what a guard
 * sets (`fromJwtClaim`), inject `TenantContext` and call `require()` in the method. Should guards lead to another tenant
 * than the one injected, the request is refused before its handler runs.
 */
export const TENANT_ID = Symbol('nestjs-result-cache:TENANT_ID');

/** The request-scoped provider behind {@link TENANT_ID}. A façade for applications: the cache itself stays a singleton and never injects it. */
export const tenantIdProvider: FactoryProvider<Promise<string | undefined>> = {
  provide: TENANT_ID,
  scope: Scope.REQUEST,
  inject: [TenantContext, TENANCY],
  useFactory: async (context: TenantContext, tenancy: Tenancy) => {
    try {
      const tenantId = await (context.requestScope()?.pin() ?? context.resolve());
      return tenancy.mode === 'required' ? (tenantId ?? (await context.resolveRequired())) : tenantId;
    } catch (error) {
      // GraphQL creates request-scoped resolvers outside the reach of exception filters.
      if (error instanceof MissingTenantError || error instanceof TenantMismatchError) throw toHttpException(error);
      throw error;
    }
  },
};
