/* eslint-disable @typescript-eslint/no-unused-vars -- arguments that only the key sees */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { ApolloDriver, type ApolloDriverConfig } from '@nestjs/apollo';
import {
  ClassSerializerInterceptor,
  Inject,
  Injectable,
  Module,
  Scope,
  UseInterceptors,
  type MiddlewareConsumer,
  type NestModule,
  type Type,
} from '@nestjs/common';
import {
  Args,
  CONTEXT,
  Context,
  createUnionType,
  Field,
  GraphQLModule,
  ID,
  Info,
  Int,
  InterfaceType,
  Mutation,
  ObjectType,
  Parent,
  Query,
  ResolveField,
  Resolver,
  Subscription,
} from '@nestjs/graphql';
import { Exclude } from 'class-transformer';
import { Kind, type GraphQLResolveInfo, type SelectionSetNode } from 'graphql';
import { CacheQuery, CacheResult } from 'nestjs-result-cache';
import { OperationFenceMiddleware } from 'nestjs-result-cache/graphql';
import request from 'supertest';
import { createDatabase, type TestDatabase } from './support/database.js';
import { closeNest, startNest, type StartedNest } from './support/nest.js';
import { installSettled } from './support/settled.js';

let computed: string[] = [];
let database: TestDatabase;
let nest: StartedNest;

const cached = { domains: ['item'] };

@InterfaceType({ resolveType: (value: object) => value.constructor })
abstract class Animal {
  @Field(() => String)
  name!: string;
}

@ObjectType({ implements: () => [Animal] })
class Dog extends Animal {
  @Field(() => Boolean)
  barks!: boolean;
}

@ObjectType({ implements: () => [Animal] })
class Cat extends Animal {
  @Field(() => Int)
  lives!: number;
}

const Found = createUnionType({ name: 'Found', types: () => [Dog, Cat] as const });

@ObjectType()
class Account {
  @Field(() => ID)
  id!: number;

  @Field(() => String, { nullable: true })
  @Exclude()
  secret?: string;
}

/** As TypeORM makes a lazy relation: a getter that gives a promise. */
@ObjectType()
class Story {
  @Field(() => ID)
  id!: number;

  get comments(): Promise<string[]> {
    computed.push(`lazy ${this.id}`);
    return Promise.resolve([]);
  }

  static of(id: number): Story {
    const story = Object.assign(new Story(), { id });
    const get = (): Promise<string[]> => story.comments;
    return Object.defineProperty(story, 'lazy', { enumerable: true, configurable: true, get });
  }
}

/** As DataLoader: what it has read it keeps. */
class ItemLoader {
  private readonly read = new Map<number, Promise<string>>();

  load(id: number): Promise<string> {
    let name = this.read.get(id);
    if (name === undefined) this.read.set(id, (name = nameOf(id)));
    return name;
  }
}

async function nameOf(id: number): Promise<string> {
  return (await database.pool.query<{ name: string }>('SELECT name FROM items WHERE id = $1', [id])).rows[0]!.name;
}

@Resolver()
class AnimalResolver {
  @Query(() => [Animal])
  @CacheResult({ ...cached, classes: [Dog, Cat] })
  async animals(): Promise<Animal[]> {
    computed.push('animals');
    return [
      Object.assign(new Dog(), { name: 'rex', barks: true }),
      Object.assign(new Cat(), { name: 'tom', lives: 9 }),
    ];
  }

  @Query(() => [Found])
  @CacheResult({ ...cached, classes: [Dog, Cat] })
  async found(): Promise<object[]> {
    computed.push('found');
    return [Object.assign(new Cat(), { name: 'tom', lives: 9 })];
  }

  @Query(() => String)
  @CacheResult(cached)
  async fields(@Info() info: GraphQLResolveInfo, @Args('a', { nullable: true }) _a?: string): Promise<string> {
    computed.push('fields');
    return String(info.fieldNodes.length);
  }

  @Query(() => Dog)
  @CacheResult(cached)
  async dog(@Info() info: GraphQLResolveInfo): Promise<object> {
    computed.push('dog');
    return { name: fieldsOf(info).join(), barks: true };
  }

  @Query(() => String)
  @CacheResult(cached)
  async ordered(@Args('a', { nullable: true }) a?: string, @Args('b', { nullable: true }) b?: string): Promise<string> {
    computed.push('ordered');
    return `${a ?? '-'} ${b ?? '-'}`;
  }
}

/** The fields asked for, by name, through fragments and as @include and @skip say. */
function fieldsOf({ fieldNodes, fragments, variableValues }: GraphQLResolveInfo): string[] {
  const walk = (set: SelectionSetNode | undefined): string[] =>
    (set?.selections ?? []).flatMap((node) => {
      for (const { name, arguments: given } of node.directives ?? []) {
        const value = given?.[0]?.value;
        const on =
          value?.kind === Kind.VARIABLE
            ? variableValues[value.name.value]
            : value?.kind === Kind.BOOLEAN && value.value;
        if ((name.value === 'include') !== on) return [];
      }
      if (node.kind === Kind.FIELD) return [node.name.value];
      return walk(node.kind === Kind.FRAGMENT_SPREAD ? fragments[node.name.value]!.selectionSet : node.selectionSet);
    });
  return fieldNodes.flatMap(({ selectionSet }) => walk(selectionSet));
}

@Resolver(() => Account)
@UseInterceptors(ClassSerializerInterceptor)
class AccountResolver {
  @Query(() => Account)
  @CacheResult({ ...cached, classes: [Account] })
  async account(): Promise<Account> {
    computed.push('account');
    return Object.assign(new Account(), { id: 1, secret: 'hunter2' });
  }
}

@Resolver()
@Injectable({ scope: Scope.REQUEST })
class ViewerResolver {
  constructor(@Inject(CONTEXT) private readonly context: { req: { headers: Record<string, string> } }) {}

  @Query(() => String)
  @CacheResult({
    ...cached,
    varyBy(this: ViewerResolver) {
      return { viewer: this.viewer };
    },
  })
  async viewing(): Promise<string> {
    computed.push(`viewer ${this.viewer}`);
    return this.viewer;
  }

  private get viewer(): string {
    return this.context.req.headers['x-viewer'] ?? 'nobody';
  }
}

@Resolver(() => Story)
class StoryResolver {
  @Query(() => Story)
  async story(): Promise<Story> {
    return Story.of(1);
  }

  @ResolveField(() => Int)
  @CacheResult(cached)
  async commentCount(@Parent() story: Story): Promise<number> {
    computed.push('commentCount');
    return (await story.comments).length;
  }

  @ResolveField(() => Int)
  @CacheResult({ ...cached, key: (story: Story) => story.id })
  async keyedCount(@Parent() story: Story): Promise<number> {
    computed.push('keyedCount');
    return (await story.comments).length;
  }
}

@Resolver()
class LoaderResolver {
  /** Fills the loader, then lets somebody write before the next field is resolved. */
  @Mutation(() => String)
  async prime(@Context('loader') loader: ItemLoader): Promise<string> {
    const name = await loader.load(1);
    await database.pool.query(`UPDATE items SET name = 'new' WHERE id = 1`);
    return name;
  }

  @Mutation(() => String)
  async readLoaded(@Context() context: { loader: ItemLoader }): Promise<string> {
    return this.loaded(context);
  }

  @Query(() => String)
  @CacheResult({ ...cached, key: () => 1 })
  async loaded(@Context() { loader }: { loader: ItemLoader }): Promise<string> {
    computed.push('loaded');
    return loader.load(1);
  }
}

@Module({})
class FenceModule implements NestModule {
  configure(consumer: MiddlewareConsumer): void {
    consumer.apply(OperationFenceMiddleware).forRoutes('graphql');
  }
}

function start(providers: Type[], imports: Type[] = []): Promise<StartedNest> {
  const graphql = GraphQLModule.forRoot<ApolloDriverConfig>({
    driver: ApolloDriver,
    autoSchemaFile: true,
    graphiql: false,
    buildSchemaOptions: { orphanedTypes: [Dog, Cat] },
    context: ({ req }: { req: object }) => ({ req, loader: new ItemLoader() }),
  });
  return startNest(database, { imports: [graphql, ...imports], providers });
}

const ALL = [AnimalResolver, AccountResolver, ViewerResolver, StoryResolver, LoaderResolver];

beforeAll(async () => {
  database = await createDatabase();
  await database.pool.query('CREATE TABLE items (id int PRIMARY KEY, tenant_id text, name text)');
  await installSettled(database);
});
beforeEach(async () => {
  await database.pool.query(`DELETE FROM items; INSERT INTO items VALUES (1, NULL, 'old')`);
  computed = [];
  nest = await start(ALL);
});
afterEach(async () => {
  await closeNest();
  await database.pool.query('DELETE FROM fraiseql_cache.fraiseql_cache');
});
afterAll(() => database.drop());

async function ask(query: string, { variables = {}, headers = {}, on = nest } = {}) {
  const response = await request(on.app.getHttpServer()).post('/graphql').set(headers).send({ query, variables });
  await on.drain();
  return response.body as { data: Record<string, any> | null; errors?: { message: string }[] };
}

describe('values that are more than their fields', () => {
  it.each([
    ['an interface', 'animals', '{ animals { __typename name ... on Dog { barks } ... on Cat { lives } } }'],
    ['a union', 'found', '{ found { __typename ... on Dog { name } ... on Cat { name lives } } }'],
  ])('%s is resolved on a hit as on a miss, here and in another process', async (_, name, query) => {
    const first = await ask(query);
    expect(first.errors).toBeUndefined();
    expect(await ask(query)).toEqual(first);
    expect(await ask(query, { on: await start(ALL) })).toEqual(first);
    expect(computed).toEqual([name]);
  });

  it('@Exclude() hides on a hit as on a miss, here and in another process', async () => {
    const query = '{ account { id secret } }';
    const expected = { data: { account: { id: '1', secret: null } } };
    expect(await ask(query)).toEqual(expected);
    expect(await ask(query)).toEqual(expected);
    expect(await ask(query, { on: await start(ALL) })).toEqual(expected);
    expect(computed).toEqual(['account']);
  });
});

it('a request-scoped resolver has a value per what it varies by', async () => {
  const as = (viewer: string) => ask('{ viewing }', { headers: { 'x-viewer': viewer } });
  for (const viewer of ['ada', 'bob', 'ada', 'bob']) expect((await as(viewer)).data).toEqual({ viewing: viewer });
  expect(computed).toEqual(['viewer ada', 'viewer bob']);
});

it('a request-scoped resolver that does not say so is refused at start', async () => {
  @Resolver()
  @Injectable({ scope: Scope.REQUEST })
  class Hidden {
    @Query(() => String)
    @CacheResult(cached)
    async hidden(): Promise<string> {
      return '';
    }
  }
  await expect(start([Hidden])).rejects.toThrow(/@CacheResult on Hidden\.hidden: Hidden is request-scoped.*varyBy/);
});

describe('the key of a method that takes @Info', () => {
  const asked = async (query: string, variables: object = {}) => (await ask(query, { variables })).data!['dog'];

  it('tells what @include and @skip with a variable make of the selection', async () => {
    const include = 'query ($on: Boolean!) { dog { name barks @include(if: $on) } }';
    expect(await asked(include, { on: true })).toEqual({ name: 'name,barks', barks: true });
    expect(await asked(include, { on: false })).toEqual({ name: 'name' });
    const skip = 'query ($on: Boolean!) { dog { name barks @skip(if: $on) } }';
    expect(await asked(skip, { on: true })).toEqual({ name: 'name' });
    expect(await asked(skip, { on: false })).toEqual({ name: 'name,barks', barks: true });
    expect(await asked('{ dog { name barks @skip(if: true) } }')).toEqual({ name: 'name' });
  });

  it('tells fragments of one name apart by what they hold', async () => {
    const named = (fields: string) => asked(`{ dog { ...parts } } fragment parts on Dog { ${fields} }`);
    expect(await named('name')).toEqual({ name: 'name' });
    expect(await named('name barks')).toEqual({ name: 'name,barks', barks: true });
    expect(await asked('{ dog { ... on Dog { name } } }')).toEqual({ name: 'name' });
    expect(computed).toEqual(['dog', 'dog', 'dog']);
    expect(await named('name')).toEqual({ name: 'name' });
    expect(computed).toHaveLength(3);
  });

  it('counts a field that is asked for twice as what both ask for', async () => {
    expect(await asked('{ dog { name } dog { barks } }')).toEqual({ name: 'name,barks', barks: true });
    expect(await asked('{ dog { name } }')).toEqual({ name: 'name' });
  });
});

it('arguments have one key, whatever order they are written in, and a missing one is not another', async () => {
  const ordered = async (query: string) => (await ask(query)).data!['ordered'];
  expect(await ordered('{ ordered(a: "1", b: "2") }')).toBe('1 2');
  expect(await ordered('{ ordered(b: "2", a: "1") }')).toBe('1 2');
  expect(computed).toEqual(['ordered']);
  expect(await ordered('{ ordered(b: "1") }')).toBe('- 1');
  expect(await ordered('{ ordered(a: "1") }')).toBe('1 -');
});

describe('a parent with a lazy relation', () => {
  it('is refused as part of a key, with what to write', async () => {
    const { errors } = await ask('{ story { commentCount } }');
    expect(errors?.[0]?.message).toMatch(
      /StoryResolver\.commentCount: argument 0.*cannot be part of a cache key.*key:/,
    );
    expect(computed).not.toContain('commentCount');
  });

  it('is no hindrance where the key is said', async () => {
    for (let time = 0; time < 2; time++)
      expect((await ask('{ story { keyedCount } }')).data).toEqual({ story: { keyedCount: 0 } });
    expect(computed.filter((line) => line === 'keyedCount')).toHaveLength(1);
  });
});

describe('what cannot be cached is refused at start', () => {
  it('a subscription, which returns a stream', async () => {
    @Resolver()
    class Streaming {
      @Query(() => String)
      any(): string {
        return '';
      }

      @Subscription(() => String)
      @CacheResult(cached)
      async ticks(): Promise<AsyncIterable<string>> {
        return (async function* () {})();
      }
    }
    await expect(start([Streaming])).rejects.toThrow(
      /@CacheResult on Streaming\.ticks: it is a GraphQL subscription, which returns a stream.*cache what it reads/,
    );
  });

  it('a mutation, which a hit would not carry out', async () => {
    @Resolver()
    class Mutating {
      @Query(() => String)
      any(): string {
        return '';
      }

      @CacheQuery(cached)
      @Mutation(() => String)
      async write(): Promise<string> {
        return '';
      }
    }
    await expect(start([Mutating])).rejects.toThrow(
      /@CacheQuery on Mutating\.write: it is a GraphQL mutation, which a hit/,
    );
  });
});

it('a stream that a method returns goes to each caller by itself, and is not cached', async () => {
  @Injectable()
  class Streams {
    @CacheResult(cached)
    async stream(): Promise<AsyncIterable<number>> {
      computed.push('stream');
      return (async function* () {
        yield 1;
      })();
    }
  }
  const app = await start([...ALL, Streams]);
  const streams = app.app.get(Streams);
  const all = await Promise.all([streams.stream(), streams.stream()]);
  for (const stream of [...all, await streams.stream()]) {
    const list: number[] = [];
    for await (const one of stream) list.push(one);
    expect(list).toEqual([1]);
  }
  expect(computed).toHaveLength(3);
  expect(app.warnings.join('\n')).toMatch(/Streams\.stream returns a value that cannot be cached/);
});

describe('a DataLoader that was filled before a value’s own fence', () => {
  // Root fields of a mutation run one after the other: the loader is filled, a row is written, the loaded value is cached.
  const operation = 'mutation { prime readLoaded }';

  it('gives a value that is void with one fence per operation', async () => {
    const fenced = await start(ALL, [FenceModule]);
    expect((await ask(operation, { on: fenced })).data).toEqual({ prime: 'old', readLoaded: 'old' });
    expect((await ask('{ loaded }', { on: fenced })).data).toEqual({ loaded: 'new' });
    expect((await ask('{ loaded }', { on: fenced })).data).toEqual({ loaded: 'new' });
    expect(computed).toEqual(['loaded', 'loaded']);
  });

  it('gives a stale one without it, as the documentation warns', async () => {
    await ask(operation);
    expect((await ask('{ loaded }')).data).toEqual({ loaded: 'old' });
  });
});
