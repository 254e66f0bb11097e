import { BadRequestException, Injectable, type NestMiddleware } from '@nestjs/common';
import { type NextFunction, type Request, type Response } from 'express';
import { TenantContext } from './tenant-context.js';
import { isTenant, TENANTS } from './tenants.js';

/** Routes for operators, who belong to no tenant. Every other route, a future one included, asks for one. */
export const ROUTES_WITHOUT_TENANT = ['health', 'metrics', 'cache/stats'];

/** Takes the tenant from the header `x-tenant-id`; answers 400 when it is missing or unknown. */
@Injectable()
export class TenantMiddleware implements NestMiddleware {
  constructor(private readonly tenants: TenantContext) {}

  use(request: Request, _response: Response, next: NextFunction): void {
    const tenant = request.get('x-tenant-id');
    const remedy = `send the header x-tenant-id with one of ${TENANTS.join(', ')}`;
    if (tenant === undefined) throw new BadRequestException(`no tenant: ${remedy}`);
    if (!isTenant(tenant)) {
      throw new BadRequestException(`unknown tenant ${JSON.stringify(tenant.slice(0, 40))}: ${remedy}`);
    }
    this.tenants.run(tenant, next);
  }
}
