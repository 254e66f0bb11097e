import {
  type ArgumentsHost,
  BadRequestException,
  Catch,
  ForbiddenException,
  type HttpException,
  Logger,
} from '@nestjs/common';
import { BaseExceptionFilter } from '@nestjs/core';
import { throwError } from 'rxjs';
import { MissingTenantError, TenantMismatchError } from '../core/errors.js';
import { UnknownTenantError } from './unknown-tenant.error.js';

type TenantError = MissingTenantError | TenantMismatchError;

/**
 * The HTTP form of a tenant error: 400 for a missing or unknown tenant, 403 for one that contradicts the credentials. The client is told
 * what it did; the original, which tells the developer what to do, is the `cause`.
 */
export function toHttpException(error: TenantError): HttpException {
  const options = { cause: error };
  if (error instanceof TenantMismatchError) {
    return new ForbiddenException('The tenant of this request is not the tenant of its credentials.', options);
  }
  return error instanceof UnknownTenantError
    ? new BadRequestException('This request names an unknown tenant.', options)
    : new BadRequestException('This request names no tenant.', options);
}

/**
 * Maps tenant errors that leave a controller, resolver or handler; registered globally by the cache module. For nested GraphQL fields Nest runs
 * filters only with `fieldResolverEnhancers: ['filters']`; without it such a field still fails, as INTERNAL_SERVER_ERROR.
 */
@Catch(MissingTenantError, TenantMismatchError)
export class TenantExceptionFilter extends BaseExceptionFilter<TenantError> {
  private readonly log = new Logger(TenantExceptionFilter.name);

  override catch(error: TenantError, host: ArgumentsHost): unknown {
    // Any client can cause these, so they must not fill the log at a level that wakes somebody.
    this.log.debug(`${error.name}: ${error.message}`);
    const exception = toHttpException(error);
    switch (host.getType<string>()) {
      case 'http':
        return super.catch(exception, host);
      case 'rpc':
        return throwError(() => exception);
      case 'ws':
        // Nest takes a gateway's error for handled once a filter has seen it, so the answer must be sent from here.
        return host
          .switchToWs()
          .getClient<Emitter>()
          .emit?.('exception', { status: 'error', message: exception.message });
      default:
        // GraphQL: the driver formats what is thrown, and knows HttpException (BAD_REQUEST, FORBIDDEN).
        throw exception;
    }
  }
}

interface Emitter {
  emit?(event: string, payload: unknown): void;
}
