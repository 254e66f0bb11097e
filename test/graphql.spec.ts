/* eslint-disable @typescript-eslint/no-unused-vars -- arguments that only the key sees */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { ApolloDriver, type ApolloDriverConfig } from '@nestjs/apollo';
import {
  type CallHandler,
  type CanActivate,
  type ExecutionContext,
  Injectable,
  type NestInterceptor,
  UseGuards,
  UseInterceptors,
} from '@nestjs/common';
import {
  Args,
  ArgsType,
  Context,
  Field,
  GqlExecutionContext,
  GraphQLModule,
  ID,
  Info,
  InputType,
  Int,
  Mutation,
  ObjectType,
  Parent,
  Query,
  ResolveField,
  Resolver,
} from '@nestjs/graphql';
import { CacheResult, InvalidatesDomain } from 'nestjs-result-cache';
import { map, type Observable } from 'rxjs';
import request from 'supertest';
import { createDatabase, type TestDatabase } from './support/database.js';
import { closeNest, startNest, type StartedNest } from './support/nest.js';
import { installSettled } from './support/settled.js';

/** What was computed, in order. */
let computed: string[] = [];

@ObjectType()
class Author {
  @Field(() => ID)
  id!: number;

  @Field(() => String)
  name!: string;

  @Field(() => Date)
  bornAt!: Date;

  static of(id: number): Author {
    return Object.assign(new Author(), { id, name: `author ${id}`, bornAt: new Date(id) });
  }
}

@ObjectType()
class Post {
  @Field(() => ID)
  id!: number;

  @Field(() => String)
  title!: string;

  authorId!: number;
}

@ArgsType()
class PageArgs {
  @Field(() => Int, { nullable: true })
  limit?: number;

  @Field(() => Int, { nullable: true })
  offset?: number;
}

@InputType()
class Filter {
  @Field(() => String, { nullable: true })
  title?: string;

  @Field(() => [Int], { nullable: true })
  ids?: number[];
}

@Injectable()
class TokenGuard implements CanActivate {
  canActivate(execution: ExecutionContext): boolean {
    const { req } = GqlExecutionContext.create(execution).getContext<{ req: { headers: Record<string, string> } }>();
    return req.headers['authorization'] === 'secret';
  }
}

@Injectable()
class ShoutInterceptor implements NestInterceptor {
  intercept(_execution: ExecutionContext, next: CallHandler): Observable<unknown> {
    return next.handle().pipe(map((text: string) => text.toUpperCase()));
  }
}

/** As DataLoader: gathers the keys of a turn into one batch. */
class AuthorLoader {
  private queue: { id: number; resolve: (author: Author) => void }[] = [];

  load(id: number): Promise<Author> {
    return new Promise((resolve) => {
      if (this.queue.push({ id, resolve }) === 1)
        setImmediate(() => {
          const batch = this.queue.splice(0);
          computed.push(`batch ${batch.map((each) => each.id).join()}`);
          for (const each of batch) each.resolve(Author.of(each.id));
        });
    });
  }
}

const cached = { domains: ['item'] };

@Resolver(() => Post)
class PostResolver {
  @Query(() => [Post])
  @CacheResult(cached)
  async posts(@Args() args: PageArgs, @Context() _context: unknown): Promise<Post[]> {
    computed.push(`posts ${args.limit ?? '-'} ${args.offset ?? '-'}`);
    return Array.from({ length: args.limit ?? 2 }, (_, index) =>
      Object.assign(new Post(), { id: index + 1, title: `post ${index + 1}`, authorId: 1 + (index % 2) }),
    );
  }

  @CacheResult(cached)
  @Query(() => String)
  async filtered(@Args('filter') filter: Filter): Promise<string> {
    computed.push('filtered');
    return JSON.stringify(filter);
  }

  @CacheResult(cached)
  @Query(() => String)
  async selected(@Info() info: { fieldNodes: readonly { alias?: { value: string } }[] }): Promise<string> {
    computed.push('selected');
    return info.fieldNodes.map(({ alias }) => alias?.value ?? '-').join();
  }

  @CacheResult(cached)
  @UseGuards(TokenGuard)
  @Query(() => String)
  async guardedBelow(): Promise<string> {
    computed.push('guardedBelow');
    return 'secret';
  }

  @UseGuards(TokenGuard)
  @Query(() => String)
  @CacheResult(cached)
  async guardedAbove(): Promise<string> {
    computed.push('guardedAbove');
    return 'secret';
  }

  @UseInterceptors(ShoutInterceptor)
  @CacheResult(cached)
  @Query(() => String)
  async shouted(): Promise<string> {
    computed.push('shouted');
    return 'hello';
  }

  @ResolveField(() => Author)
  @CacheResult({ ...cached, classes: [Author] })
  async author(@Parent() post: Post, @Context('loader') loader: AuthorLoader): Promise<Author> {
    computed.push(`author of ${post.id}`);
    return loader.load(post.authorId);
  }

  @CacheResult(cached)
  @ResolveField(() => String)
  async excerpt(@Parent() post: Post, @Args('length', { type: () => Int }) length: number): Promise<string> {
    computed.push(`excerpt ${post.id} ${length}`);
    return post.title.slice(0, length);
  }

  @Mutation(() => String)
  @InvalidatesDomain('item')
  async publish(): Promise<string> {
    return 'published';
  }

  @InvalidatesDomain('item')
  @Mutation(() => String)
  async fail(): Promise<string> {
    throw new Error('half published');
  }
}

@Resolver(() => Author)
class AuthorResolver {
  @CacheResult({ ...cached, classes: [Author] })
  @Query(() => Author, { nullable: true })
  async author(@Args('id', { type: () => ID }) id: string): Promise<Author | null> {
    computed.push(`author ${id}`);
    return id === '0' ? null : Author.of(Number(id));
  }
}

interface Answer {
  data: Record<string, any> | null;
  errors?: { message: string; extensions: { code: string } }[];
  status: string | undefined;
}

let database: TestDatabase;
let nest: StartedNest;

const start = (): Promise<StartedNest> =>
  startNest(database, {
    imports: [
      GraphQLModule.forRoot<ApolloDriverConfig>({
        driver: ApolloDriver,
        autoSchemaFile: true,
        graphiql: false,
        context: ({ req }: { req: object }) => ({ req, loader: new AuthorLoader() }),
      }),
    ],
    providers: [PostResolver, AuthorResolver],
  });

beforeAll(async () => {
  database = await createDatabase();
  await database.pool.query('CREATE TABLE items (id int PRIMARY KEY, tenant_id text, name text)');
  await installSettled(database);
});
beforeEach(async () => {
  computed = [];
  nest = await start();
});
afterEach(async () => {
  await closeNest();
  await database.pool.query('DELETE FROM fraiseql_cache.fraiseql_cache');
});
afterAll(() => database.drop());

async function ask(query: string, { variables = {}, headers = {}, on = nest } = {}): Promise<Answer> {
  const response = await request(on.app.getHttpServer()).post('/graphql').set(headers).send({ query, variables });
  await on.drain();
  return { ...(response.body as Omit<Answer, 'status'>), status: response.headers['cache-status'] };
}

/** What a repetition computes, and that it answers the same. */
async function repeated(query: string, options?: Parameters<typeof ask>[1]): Promise<string[]> {
  const first = await ask(query, options);
  expect(first.errors).toBeUndefined();
  computed = [];
  const second = await ask(query, options);
  expect(second.data).toEqual(first.data);
  return computed;
}

describe('queries', () => {
  it('are computed once, and keep their arguments apart', async () => {
    expect(await repeated('{ posts(limit: 1) { id title } }')).toEqual([]);
    expect((await ask('{ posts(limit: 1) { id } }')).status).toMatch(/^default; hit;/);
    await ask('{ posts(offset: 1) { id } }');
    await ask('{ posts { id } }');
    expect(computed).toEqual(['posts - 1', 'posts - -']);
  });

  it('DateTime fields work on a hit, here and in another process', async () => {
    const query = '{ author(id: 5) { id name bornAt } }';
    expect(await repeated(query)).toEqual([]);
    const elsewhere = await ask(query, { on: await start() });
    expect(elsewhere).toEqual({
      data: { author: { id: '5', name: 'author 5', bornAt: '1970-01-01T00:00:00.005Z' } },
      status: expect.stringMatching(/^default; hit;/),
    });
  });

  it('null is an answer', async () => {
    expect(await repeated('{ author(id: 0) { id } }')).toEqual([]);
    expect((await ask('{ author(id: 0) { id } }')).data).toEqual({ author: null });
  });

  it('literals, variables and their order make one key', async () => {
    expect(await repeated('{ filtered(filter: { title: "a", ids: [1, 2] }) }')).toEqual([]);
    const query = 'query ($filter: Filter!) { filtered(filter: $filter) }';
    await ask(query, { variables: { filter: { ids: [1, 2], title: 'a' } } });
    expect(computed).toEqual([]);
    await ask(query, { variables: { filter: { ids: [2, 1], title: 'a' } } });
    expect(computed).toEqual(['filtered']);
  });

  it('one request’s equal queries are computed once', async () => {
    const { data } = await ask('{ a: filtered(filter: { title: "x" }) b: filtered(filter: { title: "x" }) }');
    expect(data!.a).toBe(data!.b);
    expect(computed).toEqual(['filtered']);
  });

  it('the selection is in the key of a method that takes @Info', async () => {
    expect(await repeated('{ one: selected }')).toEqual([]);
    expect((await ask('{ two: selected }')).data).toEqual({ two: 'two' });
    expect(computed).toEqual(['selected']);
    // The same selection, written another way.
    await ask('query Named {\n  one:   selected\n}');
    expect(computed).toEqual(['selected']);
  });

  it('tenants are apart', async () => {
    const as = (tenant: string) => ask('{ posts { id } }', { headers: { 'x-tenant-id': tenant } });
    await as('acme');
    await as('globex');
    await as('acme');
    expect(computed).toEqual(['posts - -', 'posts - -']);
  });
});

describe('enhancers', () => {
  it.each(['guardedAbove', 'guardedBelow'])('a guard guards on a hit as on a miss: %s', async (name) => {
    const query = `{ ${name} }`;
    const headers = { authorization: 'secret' };
    expect(await repeated(query, { headers })).toEqual([]);
    const refused = await ask(query);
    expect(refused.errors?.[0]?.extensions.code).toBe('FORBIDDEN');
    expect(JSON.stringify(refused)).not.toContain('secret');
    expect(computed).toEqual([]);
  });

  it('an interceptor transforms on a hit as on a miss', async () => {
    expect(await repeated('{ shouted }')).toEqual([]);
    expect((await ask('{ shouted }')).data).toEqual({ shouted: 'HELLO' });
  });
});

describe('fields', () => {
  const query = '{ posts(limit: 3) { id author { id name bornAt } excerpt(length: 4) } }';

  it('are cached by their parent and arguments, and a loader in the context still gathers', async () => {
    const first = await ask(query);
    expect(first.errors).toBeUndefined();
    expect(computed.filter((line) => line.startsWith('batch'))).toEqual(['batch 1,2,1']);
    expect(await repeated(query)).toEqual([]);
    // Another argument computes the excerpts only.
    await ask(query.replace('4', '2'));
    expect(computed).toEqual(['excerpt 1 2', 'excerpt 2 2', 'excerpt 3 2']);
  });

  it('are those of their parent', async () => {
    await ask(query);
    const { data } = await ask(query);
    expect(data!.posts).toEqual(
      [1, 2, 3].map((id) => {
        const author = 2 - (id % 2);
        return {
          id: String(id),
          author: { id: String(author), name: `author ${author}`, bornAt: new Date(author).toISOString() },
          excerpt: 'post',
        };
      }),
    );
  });

  it('do not depend on the loader they are given: a hit needs none', async () => {
    await ask('{ posts(limit: 2) { author { id } } }');
    computed = [];
    await ask('{ posts(limit: 3) { author { id } } }');
    // The third post is new; its author is loaded alone.
    expect(computed).toEqual(['posts 3 -', 'author of 3', 'batch 1']);
  });
});

describe('mutations', () => {
  it('make void before they answer, also when they fail', async () => {
    for (const [mutation, error] of [
      ['publish', undefined],
      ['fail', 'half published'],
    ] as const) {
      expect(await repeated('{ posts { id } }')).toEqual([]);
      const answer = await ask(`mutation { ${mutation} }`);
      expect(answer.errors?.[0]?.message).toBe(error);
      await ask('{ posts { id } }');
      expect(computed).toEqual(['posts - -']);
    }
  });

  it('a row changed with plain SQL is seen by the next request', async () => {
    expect(await repeated('{ posts { id } }')).toEqual([]);
    await database.pool.query(`INSERT INTO items VALUES ($1, 'a', 'b')`, [Math.floor(Math.random() * 1e9)]);
    await ask('{ posts { id } }');
    expect(computed).toEqual(['posts - -']);
  });
});
