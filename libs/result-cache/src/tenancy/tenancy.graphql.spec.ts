import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { ApolloDriver, type ApolloDriverConfig } from '@nestjs/apollo';
import {
  type CanActivate,
  type ExecutionContext,
  Inject,
  Injectable,
  type INestApplication,
  type MiddlewareConsumer,
  Module,
  type NestModule,
  UseGuards,
} from '@nestjs/common';
import { Field, GqlExecutionContext, GraphQLModule, ObjectType, Query, ResolveField, Resolver } from '@nestjs/graphql';
import { Test } from '@nestjs/testing';
import { setImmediate as turn } from 'node:timers/promises';
import request from 'supertest';
import {
  fromHeader,
  fromJwtClaim,
  resolveTenancy,
  TENANCY,
  tenancyProviders,
  TENANT_ID,
  TenantContext,
  TenantMiddleware,
  verified,
} from './index.js';

/** What `knownTenant` was asked. */
let asked: string[] = [];

@Injectable()
class GqlAuthGuard implements CanActivate {
  async canActivate(execution: ExecutionContext): Promise<boolean> {
    const { req } = GqlExecutionContext.create(execution).getContext<{
      req: { headers: Record<string, string>; user?: object };
    }>();
    await turn();
    const tenant = req.headers['authorization']?.replace('Bearer ', '');
    if (tenant) req.user = { tenant_id: tenant };
    return true;
  }
}

@ObjectType()
class Page {
  @Field(() => String)
  title!: string;
}

@Resolver(() => Page)
class PageResolver {
  constructor(@Inject(TenantContext) private readonly tenant: TenantContext) {}

  @Query(() => String)
  @UseGuards(GqlAuthGuard)
  async who(): Promise<string> {
    await turn();
    return this.tenant.resolveRequired();
  }

  @Query(() => Page)
  publicPage(): Page {
    return { title: this.tenant.current() ?? 'nobody' };
  }

  @Query(() => [Page])
  pages(): Page[] {
    const title = this.tenant.require();
    return [{ title }, { title }, { title }];
  }

  @ResolveField(() => String)
  owner(): string {
    return this.tenant.require();
  }

  @ResolveField(() => String)
  @UseGuards(GqlAuthGuard)
  secret(): string {
    return this.tenant.require();
  }
}

@Resolver()
class InjectedResolver {
  constructor(@Inject(TENANT_ID) private readonly tenantId: string) {}

  @Query(() => String)
  @UseGuards(GqlAuthGuard)
  injected(): string {
    return this.tenantId;
  }
}

@Module({
  imports: [
    GraphQLModule.forRoot<ApolloDriverConfig>({
      driver: ApolloDriver,
      autoSchemaFile: true,
      graphiql: false,
      fieldResolverEnhancers: ['guards', 'interceptors', 'filters'],
    }),
  ],
  providers: [
    PageResolver,
    InjectedResolver,
    ...tenancyProviders({
      provide: TENANCY,
      useValue: resolveTenancy({
        mode: 'required',
        knownTenant: (id) => asked.push(id) > 0,
        resolver: verified(fromHeader('x-tenant-id'), fromJwtClaim('tenant_id')),
      }),
    }),
  ],
})
class AppModule implements NestModule {
  configure(consumer: MiddlewareConsumer) {
    consumer.apply(TenantMiddleware).forRoutes('{*path}');
  }
}

interface Answer {
  data: Record<string, unknown> | null;
  errors?: { message: string; extensions: { code: string } }[];
}

describe('tenancy under GraphQL (Apollo)', () => {
  let app: INestApplication;
  let url: string;

  beforeAll(async () => {
    const testing = await Test.createTestingModule({ imports: [AppModule] }).compile();
    app = testing.createNestApplication({ logger: false });
    await app.listen(0, '127.0.0.1');
    url = await app.getUrl();
  });
  afterAll(async () => app?.close());

  async function ask(query: string, headers: Record<string, string> = {}): Promise<Answer> {
    return (await request(url).post('/graphql').set(headers).send({ query })).body as Answer;
  }
  const spoofed = { 'x-tenant-id': 'victim', authorization: 'Bearer thief' };

  it('never mixes 60 concurrent requests of 3 tenants', async () => {
    const tenants = Array.from({ length: 60 }, (_, index) => `tenant-${index % 3}`);
    const answers = await Promise.all(tenants.map((tenant) => ask('{ who }', { authorization: `Bearer ${tenant}` })));
    expect(answers).toEqual(tenants.map((who) => ({ data: { who } })));
  });

  it('answers BAD_REQUEST where a tenant is required and none is named', async () => {
    const { errors } = await ask('{ who }');
    expect(errors?.map(({ message, extensions }) => [message, extensions.code])).toEqual([
      ['This request names no tenant.', 'BAD_REQUEST'],
    ]);
  });

  it('answers FORBIDDEN to a header that contradicts the token', async () => {
    const { errors } = await ask('{ who }', spoofed);
    expect(errors?.[0]?.extensions.code).toBe('FORBIDDEN');
    expect(JSON.stringify(errors)).not.toMatch(/victim|thief/);
  });

  it('does not let a public field settle the tenant for a guarded one', async () => {
    const nested = await ask('{ publicPage { title secret } }', spoofed);
    expect(nested.errors?.[0]?.extensions.code).toBe('FORBIDDEN');
    expect(nested.data).toBeNull();
    const beside = await ask('{ publicPage { title } who }', spoofed);
    expect(beside.errors?.[0]?.extensions.code).toBe('FORBIDDEN');
  });

  it('serves a public field and a guarded one their common tenant', async () => {
    const headers = { 'x-tenant-id': 'acme', authorization: 'Bearer acme' };
    expect(await ask('{ publicPage { title secret } who injected }', headers)).toEqual({
      data: { publicPage: { title: 'acme', secret: 'acme' }, who: 'acme', injected: 'acme' },
    });
  });

  it('resolves the tenant once for a list and its nested fields', async () => {
    asked = [];
    const owner = 'acme';
    const { data } = await ask('{ pages { owner } }', { 'x-tenant-id': owner });
    expect(data).toEqual({ pages: [{ owner }, { owner }, { owner }] });
    expect(asked).toEqual([owner]);
  });

  it('maps errors of an injected TENANT_ID, which arise outside the reach of filters', async () => {
    expect((await ask('{ injected }')).errors?.[0]?.extensions.code).toBe('BAD_REQUEST');
    expect((await ask('{ injected }', spoofed)).errors?.[0]?.extensions.code).toBe('FORBIDDEN');
  });
});
