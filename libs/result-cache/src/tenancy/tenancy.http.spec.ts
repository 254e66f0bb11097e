import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import {
  type CanActivate,
  Controller,
  type ExecutionContext,
  Get,
  Inject,
  Injectable,
  type INestApplication,
  type MiddlewareConsumer,
  Module,
  type NestModule,
  Post,
  UseGuards,
} from '@nestjs/common';
import { APP_GUARD } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { Test } from '@nestjs/testing';
import { setImmediate as turn } from 'node:timers/promises';
import request from 'supertest';
import {
  firstOf,
  fromHeader,
  fromJwtClaim,
  resolveTenancy,
  TENANCY,
  tenancyProviders,
  type TenancyOptions,
  TENANT_ID,
  TenantContext,
  TenantMiddleware,
  type TenantResolver,
  verified,
} from './index.js';

/** Stands for a JWT guard: `Authorization: Bearer <tenant>` becomes `request.user`, after some waiting. */
@Injectable()
class AuthGuard implements CanActivate {
  async canActivate(execution: ExecutionContext): Promise<boolean> {
    const request = execution.switchToHttp().getRequest<{ headers: Record<string, string> }>();
    await turn();
    const tenant = request.headers['authorization']?.replace('Bearer ', '');
    if (tenant) Object.assign(request, { user: { tenant_id: tenant } });
    const account = request.headers['x-account'];
    if (account) Object.assign(request, { account });
    return true;
  }
}

/** Asks for the tenant before the request is authenticated, as a guard with a cached lookup would. */
@Injectable()
class HastyGuard implements CanActivate {
  static seen: unknown[] = [];
  constructor(@Inject(TenantContext) private readonly tenant: TenantContext) {}
  async canActivate(): Promise<boolean> {
    HastyGuard.seen.push(await this.tenant.resolve());
    return true;
  }
}

/** Holds every request until all of them are inside. */
class Gate {
  private inside = 0;
  private open!: () => void;
  private readonly opened = new Promise<void>((resolve) => (this.open = resolve));
  constructor(private readonly size: number) {}
  async pass(): Promise<void> {
    if (++this.inside === this.size) this.open();
    await this.opened;
  }
}
let gate = new Gate(1);

@Controller()
@UseGuards(AuthGuard)
class WhoController {
  static created = 0;
  constructor(@Inject(TenantContext) private readonly tenant: TenantContext) {
    WhoController.created++;
  }

  @Get('who')
  async who() {
    const before = await this.tenant.resolve();
    await gate.pass();
    return { before, after: this.tenant.current(), required: this.tenant.require() };
  }

  @Post('who')
  async post() {
    return this.who();
  }

  @Get('lenient')
  async lenient() {
    return { tenant: (await this.tenant.resolve()) ?? 'nobody' };
  }
}

@Controller()
@UseGuards(AuthGuard)
class InjectedController {
  static ran = 0;
  constructor(@Inject(TENANT_ID) private readonly tenantId: string | undefined) {}

  @Get('injected')
  injected() {
    InjectedController.ran++;
    return { tenant: this.tenantId ?? 'nobody' };
  }
}

interface Setup {
  middleware?: boolean;
  hasty?: boolean;
}

const platforms: [string, () => Promise<FastifyAdapter | undefined>][] = [
  ['Express', async () => undefined],
  ['Fastify', async () => new FastifyAdapter()],
];

describe.each(platforms)('tenancy under %s', (_, adapter) => {
  let app: INestApplication | undefined;
  let url: string;

  async function start(options: TenancyOptions, { middleware = true, hasty = false }: Setup = {}): Promise<void> {
    @Module({
      controllers: [WhoController, InjectedController],
      providers: [
        ...(hasty ? [{ provide: APP_GUARD, useClass: HastyGuard }] : []),
        ...tenancyProviders({ provide: TENANCY, useFactory: async () => resolveTenancy(options) }),
      ],
    })
    class AppModule implements NestModule {
      configure(consumer: MiddlewareConsumer) {
        if (middleware) consumer.apply(TenantMiddleware).forRoutes('{*path}');
      }
    }
    const testing = await Test.createTestingModule({ imports: [AppModule] }).compile();
    const platform = await adapter();
    app = platform
      ? testing.createNestApplication(platform, { logger: false })
      : testing.createNestApplication({ logger: false });
    await app.listen(0, '127.0.0.1');
    url = await app.getUrl();
  }

  const get = (path: string, headers: Record<string, string> = {}) => request(url).get(path).set(headers);

  beforeEach(() => {
    gate = new Gate(1);
    HastyGuard.seen = [];
    InjectedController.ran = 0;
  });
  afterEach(async () => {
    await app?.close();
    app = undefined;
  });

  const checked = verified(fromHeader('x-tenant-id'), fromJwtClaim('tenant_id'));
  const directory: TenantResolver = async (request) => {
    const tenant = await fromHeader('x-tenant-id')(request);
    await turn();
    return tenant;
  };

  it.each<[string, TenantResolver, (tenant: string) => Record<string, string>]>([
    ['a header held against the token', checked, (t) => ({ 'x-tenant-id': t, authorization: `Bearer ${t}` })],
    ['the token a guard verified', fromJwtClaim('tenant_id'), (t) => ({ authorization: `Bearer ${t}` })],
    ['an asynchronous resolver', directory, (t) => ({ 'x-tenant-id': t })],
  ])('never mixes 60 concurrent requests of 3 tenants: %s', async (_, resolver, headers) => {
    await start({ mode: 'required', resolver });
    gate = new Gate(60);
    WhoController.created = 1;
    const tenants = Array.from({ length: 60 }, (_, index) => `tenant-${index % 3}`);
    const answers = await Promise.all(
      tenants.map(async (tenant, index) => {
        // Bodies are read on another path through the framework, where an async context is easily lost.
        const call = index % 2 ? request(url).post('/who').send({ index }) : request(url).get('/who');
        return (await call.set(headers(tenant))).body as unknown;
      }),
    );
    expect(answers).toEqual(tenants.map((tenant) => ({ before: tenant, after: tenant, required: tenant })));
    expect(WhoController.created).toBe(1);
  });

  it('opens the scope where no middleware ran', async () => {
    await start({ mode: 'required', resolver: checked }, { middleware: false });
    await get('/who', { authorization: 'Bearer acme' }).expect(200, {
      before: 'acme',
      after: 'acme',
      required: 'acme',
    });
    await get('/who', { 'x-tenant-id': 'acme', authorization: 'Bearer other' }).expect(403);
  });

  it('answers 403 to a header that contradicts the token, without naming either', async () => {
    await start({ mode: 'required', resolver: checked });
    const { status, text } = await get('/who', { 'x-tenant-id': 'victim', authorization: 'Bearer thief' });
    expect(status).toBe(403);
    expect(text).not.toMatch(/victim|thief/);
  });

  it('answers 400 where a tenant is required and the request names none', async () => {
    await start({ mode: 'required', resolver: checked });
    const { status, body } = await get('/who');
    expect({ status, body: body as unknown }).toEqual({
      status: 400,
      body: { statusCode: 400, error: 'Bad Request', message: 'This request names no tenant.' },
    });
    await get('/lenient').expect(200, { tenant: 'nobody' });
  });

  it('answers 400 to a tenant nobody knows, having asked once', async () => {
    const asked: string[] = [];
    const knownTenant = async (id: string) => asked.push(id) > 0 && id === 'acme';
    await start({ mode: 'optional', resolver: fromHeader('x-tenant-id'), knownTenant });
    await get('/who', { 'x-tenant-id': 'acme' }).expect(200);
    expect(asked).toEqual(['acme']);
    await get('/lenient', { 'x-tenant-id': 'nonsense' }).expect(400);
  });

  it('does not hold on to what was true before the request was authenticated', async () => {
    await start({ mode: 'required', resolver: checked }, { hasty: true });
    await get('/who', { 'x-tenant-id': 'victim', authorization: 'Bearer thief' }).expect(403);
    await get('/who', { authorization: 'Bearer acme' }).expect(200);
    expect(HastyGuard.seen).toEqual(['victim', undefined]);
  });

  it('voids the answer of an application’s own resolver too, whatever it reads', async () => {
    const resolver: TenantResolver = (request) => ('account' in request ? 'after guards' : 'before guards');
    await start({ mode: 'required', resolver }, { hasty: true });
    const { body } = await get('/lenient', { 'x-account': 'acme' });
    expect([HastyGuard.seen, body as unknown]).toEqual([['before guards'], { tenant: 'after guards' }]);
  });

  describe('TENANT_ID', () => {
    it('is the tenant of the request', async () => {
      await start({ mode: 'required', resolver: checked });
      const answers = await Promise.all(
        ['a', 'b', 'c', 'a'].map((tenant) => get('/injected', { 'x-tenant-id': tenant })),
      );
      expect(answers.map(({ body }) => (body as { tenant: string }).tenant)).toEqual(['a', 'b', 'c', 'a']);
    });

    it('is refused before the handler runs, if the token turns out to contradict it', async () => {
      await start({ mode: 'required', resolver: checked });
      await get('/injected', { 'x-tenant-id': 'victim', authorization: 'Bearer thief' }).expect(403);
      expect(InjectedController.ran).toBe(0);
    });

    it('is refused before the handler runs, if guards lead to another tenant', async () => {
      await start({ mode: 'required', resolver: firstOf(fromJwtClaim('tenant_id'), fromHeader('x-tenant-id')) });
      await get('/injected', { 'x-tenant-id': 'victim', authorization: 'Bearer thief' }).expect(403);
      expect(InjectedController.ran).toBe(0);
    });

    it('is 400 if required and not known when it is injected', async () => {
      await start({ mode: 'required', resolver: fromJwtClaim('tenant_id') });
      await get('/injected', { authorization: 'Bearer acme' }).expect(400);
    });

    it('is undefined if optional and absent, but not if a guard supplies it too late', async () => {
      await start({ mode: 'optional', resolver: fromJwtClaim('tenant_id') });
      await get('/injected').expect(200, { tenant: 'nobody' });
      await get('/injected', { authorization: 'Bearer acme' }).expect(500);
      expect(InjectedController.ran).toBe(1);
    });

    it('is undefined where there is no tenancy', async () => {
      await start('off');
      await get('/injected').expect(200, { tenant: 'nobody' });
    });
  });
});
