import { CacheConfigurationError, TenantMismatchError } from '../core/errors.js';
import { chain, isPromise, type MaybePromise } from './maybe-promise.js';
import { toOptionalTenantId } from './tenant-id.js';

/** What an async context knows about its tenant. */
export interface TenantScope {
  resolve(): MaybePromise<string | undefined>;
  /** Why there is no tenant here and what to do about it: the message of a `MissingTenantError`. */
  readonly remedy: string;
}

/** A tenant given by code: a job, a test, a message handler. */
export class GivenTenant implements TenantScope {
  readonly remedy = 'No tenant was given here.';

  constructor(private readonly tenantId: string) {}

  resolve(): string {
    return this.tenantId;
  }
}

/**
 * The scope a resolver itself runs in. A resolver may call cached methods (the tenant behind a subdomain, say), which
 * then ask for the very tenant being resolved; here they find none, where waiting for the answer would wait for ever.
 */
export const RESOLVING: TenantScope = {
  resolve: () => undefined,
  remedy:
    'A tenant was required while the tenant itself was being resolved. What a tenancy resolver or knownTenant calls must do without one.',
};

/** A request, whose tenant is found when it is first asked for. */
export class RequestTenant implements TenantScope {
  readonly remedy =
    'The tenancy resolver found no tenant in this request. The request must carry what it reads (a header, a subdomain, a claim of a ' +
    'verified token); a resolver that reads what a guard puts on the request finds it only after that guard has run.';

  private request: unknown;
  /** The answer or the promise of it. Never "none": a guard may be about to supply what is missing. */
  private answer: MaybePromise<string | undefined>;
  /** What the answer was made from; see `declareInputs()`. */
  private madeFrom: readonly unknown[] = [];
  private pinned: { readonly tenantId: string | undefined } | undefined;

  constructor(
    private readonly find: (request: unknown) => MaybePromise<unknown>,
    private readonly inputs: (request: unknown) => readonly unknown[],
    request: unknown,
  ) {
    this.request = request;
  }

  resolve(): MaybePromise<string | undefined> {
    const inputs = this.inputs(this.request);
    const unchanged = inputs.every((value, index) => value === this.madeFrom[index]);
    if (this.answer !== undefined && unchanged) return this.answer;
    this.answer = undefined; // before the resolver runs: should it throw, the former answer is void all the same
    this.madeFrom = inputs;
    const found = chain(this.find(this.request), (value) => toOptionalTenantId(value, 'The tenancy resolver'));
    this.answer = found;
    if (isPromise(found)) this.settle(found);
    return found;
  }

  /** Resolve for something that will keep the answer, and so must not be told another one later. See {@link confirmPin}. */
  pin(): MaybePromise<string | undefined> {
    return chain(this.resolve(), (tenantId) => {
      this.pinned ??= { tenantId };
      return tenantId;
    });
  }

  /** The framework's own request object is known now; under Fastify the middleware saw only the raw one. */
  attach(request: unknown): void {
    if (request === this.request) return;
    this.request = request;
    this.answer = undefined;
  }

  /** Void what was resolved while guards were still running: they may have changed what a resolver of the application's own reads. */
  guardsHaveRun(): void {
    this.answer = undefined;
  }

  /** Refuse the request if what was injected before guards ran has turned out to be wrong. */
  confirmPin(): MaybePromise<void> {
    const pinned = this.pinned;
    if (!pinned) return undefined;
    return chain(this.resolve(), (tenantId) => {
      if (tenantId === pinned.tenantId) return;
      if (pinned.tenantId !== undefined) {
        throw new TenantMismatchError(
          'The tenant found once guards had run is not the one injected before as TENANT_ID.',
        );
      }
      throw new CacheConfigurationError(
        'TENANT_ID was injected as undefined before the guard ran that makes the tenant known: Nest creates request-scoped providers ' +
          'before guards run. Inject TenantContext and call current() in the method instead.',
      );
    });
  }

  /** Keep the value in place of its promise, so that `current()` can answer; forget a failure, so that it is not final. */
  private settle(pending: PromiseLike<string | undefined>): void {
    const replace = (value: string | undefined) => {
      if (this.answer === pending) this.answer = value;
    };
    pending.then(replace, () => replace(undefined));
  }
}
