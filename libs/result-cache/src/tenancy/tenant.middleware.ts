import { Inject, Injectable, type NestMiddleware } from '@nestjs/common';
import { TENANCY, type Tenancy } from './tenancy-options.js';
import { TenantContext } from './tenant-context.js';

/**
 * Opens the tenant's async context around a request; works on Express and Fastify. It resolves nothing itself: that
 * waits until somebody asks, so that guards have run.
 *
 * @example
 * configure(consumer: MiddlewareConsumer) {
 *   consumer.apply(TenantMiddleware).forRoutes('{*path}');
 * }
 */
@Injectable()
export class TenantMiddleware implements NestMiddleware {
  constructor(
    @Inject(TenantContext) private readonly context: TenantContext,
    @Inject(TENANCY) private readonly tenancy: Tenancy,
  ) {}

  use(request: unknown, _response: unknown, next: () => void): void {
    const { resolver } = this.tenancy;
    if (!resolver) return next();
    this.context.runLazily(resolver, next, request);
  }
}
