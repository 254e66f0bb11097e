import { Inject, Injectable, type NestMiddleware } from '@nestjs/common';
import { type CacheService } from '../module/cache.service.js';
import { CacheRegistry } from '../module/cache-registry.js';

/**
 * One fence per request, for resolvers that use DataLoaders: what a loader has read earlier in the request may enter a
 * cached value, because the value's fence is older still. Costs one exchange at the beginning of each request, and a write
 * during the request keeps more of its values from being stored.
 *
 * A loader must live no longer than the request: make it in the GraphQL context.
 *
 * @example
 * class AppModule implements NestModule {
 *   configure(consumer: MiddlewareConsumer): void {
 *     consumer.apply(OperationFenceMiddleware).forRoutes('graphql');
 *   }
 * }
 */
@Injectable()
export class OperationFenceMiddleware implements NestMiddleware {
  constructor(@Inject(CacheRegistry) private readonly registry: CacheRegistry) {}

  async use(_request: unknown, _response: unknown, next: () => void): Promise<void> {
    const enter = this.registry.services.reduce<() => Promise<void>>(
      (work, service: CacheService) => () => service.withFence(work),
      async () => next(),
    );
    await enter();
  }
}
