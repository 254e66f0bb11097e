import {
  type CallHandler,
  type CanActivate,
  type ExecutionContext,
  Inject,
  Injectable,
  type NestInterceptor,
} from '@nestjs/common';
import { Observable } from 'rxjs';
import { isPromise } from './maybe-promise.js';
import { TENANCY, type Tenancy } from './tenancy-options.js';
import { TenantContext } from './tenant-context.js';
import { requestOf, type TenantRequest } from './tenant-request.js';

/**
 * Hands the framework's request to the tenant scope the middleware opened. Registered as a global guard and as a global
 * interceptor, because each does what the other cannot:
 *
 * - As a guard it comes before the application's guards, so that one that asks for the tenant already sees what was put on the request.
 *   Under Fastify, middleware gets the raw Node request, and `request.user` is set on another object.
 * - As an interceptor it comes after all guards, and voids what was resolved before the request was authenticated. It
 *   also opens a scope where no middleware ran (GraphQL subscriptions over a WebSocket, excluded routes).
 */
@Injectable()
export class TenantEnhancer implements CanActivate, NestInterceptor {
  constructor(
    @Inject(TenantContext) private readonly context: TenantContext,
    @Inject(TENANCY) private readonly tenancy: Tenancy,
  ) {}

  canActivate(execution: ExecutionContext): boolean {
    const request = frameworkRequest(execution);
    if (request) this.context.requestScope()?.attach(request);
    return true;
  }

  /** Without a promise where nothing is waited for: it is on the way of every request. */
  intercept(execution: ExecutionContext, next: CallHandler): Observable<unknown> | Promise<Observable<unknown>> {
    const request = frameworkRequest(execution);
    if (!request) return next.handle();
    const scope = this.context.requestScope();
    if (scope) {
      // For nested GraphQL fields the remembered tenant stays, or a list of them would resolve it once an element.
      if (!isNestedField(execution)) scope.guardsHaveRun();
      const confirmed = scope.confirmPin();
      return isPromise(confirmed) ? Promise.resolve(confirmed).then(() => next.handle()) : next.handle();
    }
    const { resolver } = this.tenancy;
    if (!resolver || this.context.isActive()) return next.handle();
    return new Observable((subscriber) =>
      this.context.runLazily(resolver, () => next.handle().subscribe(subscriber), request),
    );
  }
}

function isNestedField(execution: ExecutionContext): boolean {
  if (execution.getType<string>() !== 'graphql') return false;
  return execution.getArgByIndex<{ path?: { prev?: unknown } } | undefined>(3)?.path?.prev !== undefined;
}

/** Microservice and gateway messages are left out on purpose: their payload is the sender's, and may well hold `headers`. */
function frameworkRequest(execution: ExecutionContext): TenantRequest | undefined {
  switch (execution.getType<string>()) {
    case 'http':
      return requestOf(execution.switchToHttp().getRequest());
    case 'graphql':
      return requestOf(execution.getArgByIndex(2)); // (parent, args, context, info)
    default:
      return undefined;
  }
}
