import { Injectable } from '@nestjs/common';
import { AsyncLocalStorage } from 'node:async_hooks';
import { type Tenant } from './tenants.js';

/** Which tenant the current request works for; follows it through every `await`. */
@Injectable()
export class TenantContext {
  private readonly storage = new AsyncLocalStorage<Tenant>();

  /** Run `work`, and everything it awaits, for this tenant. */
  run<T>(tenant: Tenant, work: () => T): T {
    return this.storage.run(tenant, work);
  }

  /**
   * The current tenant.
   *
   * @throws Error outside of a request and of {@link run}: a query without a tenant must fail rather than see everyone's rows.
   */
  get id(): Tenant {
    const tenant = this.storage.getStore();
    if (tenant === undefined) throw new Error('no tenant here: wrap the work in TenantContext.run(tenant, work)');
    return tenant;
  }
}
