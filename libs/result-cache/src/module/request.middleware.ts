import { Inject, Injectable, type NestMiddleware } from '@nestjs/common';
import { type IncomingMessage, type ServerResponse } from 'node:http';
import { TenantMiddleware } from '../tenancy/index.js';
import { CacheStatusMiddleware } from './cache-status.middleware.js';

/** Both middlewares of the module in one, because each that Nest applies costs every request a route and four promises. */
@Injectable()
export class RequestMiddleware implements NestMiddleware {
  constructor(
    @Inject(TenantMiddleware) private readonly tenant: TenantMiddleware,
    @Inject(CacheStatusMiddleware) private readonly status: CacheStatusMiddleware,
  ) {}

  use(request: IncomingMessage, response: ServerResponse, next: () => void): void {
    this.tenant.use(request, response, () => this.status.use(request, response, next));
  }
}
