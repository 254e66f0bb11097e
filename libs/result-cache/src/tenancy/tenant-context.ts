import { Inject, Injectable, Optional } from '@nestjs/common';
import { AsyncLocalStorage } from 'node:async_hooks';
import { CacheConfigurationError, MissingTenantError } from '../core/errors.js';
import { isPromise, type MaybePromise } from './maybe-promise.js';
import { readInputs } from './resolver-inputs.js';
import { DEFAULT_TENANT_SETTING, TENANCY, type Tenancy } from './tenancy-options.js';
import { toTenantId, type TenantIdInput } from './tenant-id.js';
import { requestOf, type TenantRequest, type TenantResolver } from './tenant-request.js';
import { GivenTenant, RequestTenant, RESOLVING, type TenantScope } from './tenant-scope.js';
import { setForTransaction, type TransactionHandle } from './tenant-setting.js';

/**
 * Who the current work is done for. A singleton: the tenant lives in the async context, not in the injector, so nothing
 * has to become request-scoped to ask.
 *
 * @example
 * // in a job, a message handler, a test
 * await tenantContext.run('acme', () => reports.rebuild());
 * // in a service, during a request
 * const tenantId = tenantContext.require();
 */
@Injectable()
export class TenantContext {
  private readonly storage = new AsyncLocalStorage<TenantScope>();
  private readonly setting: string;

  constructor(@Optional() @Inject(TENANCY) tenancy?: Pick<Tenancy, 'setting'>) {
    this.setting = tenancy?.setting ?? DEFAULT_TENANT_SETTING;
  }

  /**
   * Runs `fn`, and everything it awaits or starts, for a tenant. Inside another tenant's scope it takes over until `fn` is done.
   *
   * @throws CacheConfigurationError if `tenantId` is not a non-empty string, a safe integer or a bigint.
   */
  run<R>(tenantId: TenantIdInput, fn: () => R): R {
    return this.storage.run(new GivenTenant(toTenantId(tenantId, 'tenantContext.run()')), fn);
  }

  /**
   * Runs `fn` with a tenant that is found when it is first asked for, and remembered once found. `request` is handed to
   * the resolver; a GraphQL context is unwrapped to its request.
   */
  runLazily<R>(resolver: TenantResolver, fn: () => R, request?: unknown): R {
    const find = (from: unknown) => this.storage.run(RESOLVING, () => resolver(from as TenantRequest));
    const inputs = (from: unknown) => readInputs(resolver, requestOf(from));
    return this.storage.run(new RequestTenant(find, inputs, requestOf(request) ?? request), fn);
  }

  /** Whether this code runs inside `run()` or a request, be its tenant known or not. */
  isActive(): boolean {
    return this.storage.getStore() !== undefined;
  }

  /**
   * The tenant, or `undefined` if there is none. Synchronous if the resolver was; prefer it where that may not be so.
   *
   * @throws what the resolver throws: `TenantMismatchError`, `UnknownTenantError`, …
   */
  resolve(): MaybePromise<string | undefined> {
    return this.storage.getStore()?.resolve();
  }

  /**
   * As {@link resolve}, but there has to be a tenant.
   *
   * @throws MissingTenantError, whose message says what to do.
   */
  async resolveRequired(): Promise<string> {
    return this.required();
  }

  /** As {@link resolveRequired}; synchronous if the resolver was, and then it throws. */
  required(): MaybePromise<string> {
    const tenantId = this.resolve();
    return isPromise(tenantId) ? tenantId.then((found) => found ?? this.fail()) : (tenantId ?? this.fail());
  }

  /**
   * The tenant, now.
   *
   * @throws CacheConfigurationError if the resolver is asynchronous and has not answered yet: `await resolve()` first.
   */
  current(): string | undefined {
    const tenantId = this.resolve();
    if (!isPromise(tenantId)) return tenantId;
    throw new CacheConfigurationError(
      'The tenancy resolver is asynchronous and has not answered yet. Write await tenantContext.resolve() instead of ' +
        'current(), or await tenantContext.resolveRequired() instead of require().',
    );
  }

  /**
   * As {@link current}, but there has to be a tenant.
   *
   * @throws MissingTenantError (HTTP 400 when it leaves a controller or resolver), whose message says what to do.
   */
  require(): string {
    return this.current() ?? this.fail();
  }

  /**
   * Tells PostgreSQL the tenant for the rest of a transaction, for row-level security policies that read
   * `current_setting('app.current_tenant_id')` (the name is `tenancy.setting`).
   *
   * @throws MissingTenantError if there is no tenant.
   * @throws CacheConfigurationError outside a transaction, where the setting would be lost at once.
   * @example
   * await dataSource.transaction(async (manager) => {
   *   await tenantContext.applyTo(manager);
   *   return manager.find(Post);
   * });
   */
  async applyTo(transaction: TransactionHandle): Promise<void> {
    await setForTransaction(transaction, this.setting, await this.resolveRequired());
  }

  /** The request scope this code runs in, for the Nest layer that feeds it. Not for applications. */
  requestScope(): RequestTenant | undefined {
    const scope = this.storage.getStore();
    return scope instanceof RequestTenant ? scope : undefined;
  }

  private fail(): never {
    throw new MissingTenantError(
      this.storage.getStore()?.remedy ??
        'No tenant is known here, because this code runs outside any request. Wrap it in tenantContext.run(tenantId, () => …); in a ' +
          "request, give the cache module a tenancy.resolver, for example fromHeader('x-tenant-id').",
    );
  }
}
