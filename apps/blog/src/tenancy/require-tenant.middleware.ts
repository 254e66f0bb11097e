import { BadRequestException, Injectable, type NestMiddleware } from '@nestjs/common';
import { MissingTenantError, TenantContext, UnknownTenantError } from 'nestjs-result-cache';
import { TENANT_HEADER, TENANTS } from './tenants.js';

/** Routes for operators, who belong to no tenant. Every other route, a future one included, asks for one. */
export const ROUTES_WITHOUT_TENANT = ['health', 'metrics', 'cache/stats'];

const REMEDY = `send the header ${TENANT_HEADER} with one of ${TENANTS.join(', ')}`;

/**
 * Answers 400 at the door when the tenant is missing or unknown. The cache module by itself refuses where the tenant is
 * first needed; inside GraphQL that would be a 200 with an error in it, and for an unknown route a 404.
 */
@Injectable()
export class RequireTenantMiddleware implements NestMiddleware {
  constructor(private readonly tenants: TenantContext) {}

  async use(_request: unknown, _response: unknown, next: () => void): Promise<void> {
    try {
      await this.tenants.resolveRequired();
    } catch (error) {
      if (error instanceof UnknownTenantError) throw new BadRequestException(`unknown tenant: ${REMEDY}`);
      if (error instanceof MissingTenantError) throw new BadRequestException(`no tenant: ${REMEDY}`);
      throw error;
    }
    next();
  }
}
