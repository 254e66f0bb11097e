import { beforeAll, describe, expect, it } from '@jest/globals';
import { type ArgumentsHost, BadRequestException, ForbiddenException, Logger } from '@nestjs/common';
import { firstValueFrom, type Observable } from 'rxjs';
import { MissingTenantError, TenantMismatchError } from '../core/errors.js';
import { TenantExceptionFilter, toHttpException } from './tenant-exception.filter.js';
import { UnknownTenantError } from './unknown-tenant.error.js';

// HTTP and GraphQL are tested with real applications; here are the transports this workspace has no server for.
describe('TenantExceptionFilter', () => {
  const filter = new TenantExceptionFilter();
  beforeAll(() => Logger.overrideLogger(false));

  it('answers 400 and 403 with what the client did, and keeps the advice for the developer as the cause', () => {
    for (const [error, status] of [
      [new MissingTenantError('advice'), 400],
      [new UnknownTenantError('advice'), 400],
      [new TenantMismatchError('advice'), 403],
    ] as const) {
      const exception = toHttpException(error);
      expect(exception.getStatus()).toBe(status);
      expect(JSON.stringify(exception.getResponse())).not.toContain('advice');
      expect(exception.cause).toBe(error);
    }
  });

  it('fails the observable of a microservice handler', async () => {
    const host = { getType: () => 'rpc' } as unknown as ArgumentsHost;
    const answer = filter.catch(new MissingTenantError('advice'), host) as Observable<never>;
    await expect(firstValueFrom(answer)).rejects.toThrow(BadRequestException);
  });

  it('tells the client of a gateway', () => {
    const sent: unknown[] = [];
    const client = { emit: (...args: unknown[]) => sent.push(args) };
    const host = { getType: () => 'ws', switchToWs: () => ({ getClient: () => client }) } as unknown as ArgumentsHost;
    filter.catch(new MissingTenantError('advice'), host);
    expect(sent).toEqual([['exception', { status: 'error', message: 'This request names no tenant.' }]]);
  });

  it('throws for anything else, where the driver formats HttpException', () => {
    const host = { getType: () => 'graphql' } as unknown as ArgumentsHost;
    expect(() => filter.catch(new TenantMismatchError('advice'), host)).toThrow(ForbiddenException);
  });
});
