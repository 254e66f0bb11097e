/* eslint-disable @typescript-eslint/no-unused-vars -- the parameters are the subject */
import { describe, expect, it } from '@jest/globals';
import { Body, createParamDecorator, Get, Headers, Next, Param, Query, Req, Res } from '@nestjs/common';
import { Args, Context, Info, Parent, Query as GraphqlQuery, ResolveField, Resolver } from '@nestjs/graphql';
import { parse } from 'graphql';
import { MethodParameters } from './method-parameters.js';

const CurrentUser = createParamDecorator(() => 'user');
const keyed = (type: unknown, method: string, args: unknown[]): unknown[] =>
  MethodParameters.of(type as typeof Object, method).keyed(args);
const writes = (type: unknown, method: string): boolean =>
  MethodParameters.of(type as typeof Object, method).writesResponse;

describe('of a controller', () => {
  class Controller {
    @Get()
    all(
      @Param('a') _a: string,
      @Res({ passthrough: true }) _b: unknown,
      @Query() _c: unknown,
      @CurrentUser() _d: unknown,
      @Headers('x') _e: unknown,
      @Body() _f: unknown,
    ): void {}

    @Get()
    request(@Req() _a: unknown): void {}

    @Get()
    response(@Res() _a: unknown): void {}

    @Get()
    next(@Next() _a: unknown): void {}

    @Get()
    both(@Res({ passthrough: true }) _a: unknown, @Next() _b: unknown): void {}

    plain(_a: unknown, _b: unknown): void {}
  }

  class Inheriting extends Controller {}

  it('everything is part of the key but the response', () => {
    const args = [1, 2, 3, 4, 5, 6];
    expect(keyed(Controller, 'all', args)).toEqual([1, undefined, 3, 4, 5, 6]);
    expect(keyed(Inheriting, 'all', args)).toEqual([1, undefined, 3, 4, 5, 6]);
  });

  it('leaves the request to the key builder, which refuses it', () => {
    const request = {};
    expect(keyed(Controller, 'request', [request])[0]).toBe(request);
  });

  it('knows who writes the response', () => {
    expect(
      ['all', 'request', 'response', 'next', 'both', 'plain'].filter((method) => writes(Controller, method)),
    ).toEqual(['response', 'next']);
    expect(writes(Inheriting, 'response')).toBe(true);
  });

  it('takes undecorated arguments as they are', () => {
    expect(keyed(Controller, 'plain', [1, 2, 3])).toEqual([1, 2, 3]);
  });
});

describe('of a resolver', () => {
  class Thing {}

  @Resolver(() => Thing)
  class ThingResolver {
    @GraphqlQuery(() => String)
    query(
      @Args('a') _a: string,
      @Context() _b: unknown,
      @CurrentUser() _c: unknown,
      @Info() _d: unknown,
      @Args() _e: unknown,
    ): void {}

    @GraphqlQuery(() => String)
    nothing(): void {}

    @GraphqlQuery(() => String)
    positional(_parent: unknown, _args: unknown, _context: unknown, _info: unknown): void {}

    @ResolveField(() => String)
    field(@Parent() _a: unknown, @Context('loader') _b: unknown): void {}
  }

  const info = (source: string, variableValues: object = {}) => {
    const { definitions } = parse(source);
    const [operation, ...fragments] = definitions as any[];
    return {
      fieldNodes: operation.selectionSet.selections,
      fragments: Object.fromEntries(fragments.map((fragment) => [fragment.name.value, fragment])),
      variableValues,
      path: {},
      schema: () => 'not part of a key',
    };
  };
  const selection = (source: string, variables?: object): string =>
    JSON.stringify(keyed(ThingResolver, 'query', [1, 2, 3, info(source, variables)])[3]);

  it('the context is ignored, the parent is a value', () => {
    expect(keyed(ThingResolver, 'query', [1, 2, 3, undefined, 5])).toEqual([1, undefined, 3, undefined, 5]);
    expect(keyed(ThingResolver, 'field', [{ id: 1 }, 2])).toEqual([{ id: 1 }, undefined]);
    expect(writes(ThingResolver, 'query')).toBe(false);
  });

  it('of info the selection counts, not where it stood in the text', () => {
    expect(selection('{ thing { id name } }')).toBe(selection('{\n  thing {\n id,   name } }'));
    expect(selection('{ thing { id } }')).not.toBe(selection('{ thing { id name } }'));
    expect(selection('{ thing { id @include(if: $a) } }', { a: true })).not.toBe(
      selection('{ thing { id @include(if: $a) } }', { a: false }),
    );
    expect(selection('{ thing { ...F } } fragment F on Thing { id }')).not.toBe(
      selection('{ thing { ...F } } fragment F on Thing { name }'),
    );
  });

  it('of undecorated arguments, those count that GraphQL itself passes', () => {
    const args = [{ parent: 1 }, { id: 1 }, () => 'context', info('{ thing { id } }')];
    expect(keyed(ThingResolver, 'nothing', args)).toEqual([{ parent: 1 }, { id: 1 }, undefined, undefined]);
    const all = keyed(ThingResolver, 'positional', args);
    expect(all.slice(0, 3)).toEqual([{ parent: 1 }, { id: 1 }, undefined]);
    expect(JSON.stringify(all[3])).toContain('"id"');
    const open = MethodParameters.of(ThingResolver as unknown as typeof Object, 'nothing', true).keyed(args);
    expect(JSON.stringify(open[3])).toContain('"id"');
    // Other code may call the same method with arguments of its own, and all of them count.
    expect(keyed(ThingResolver, 'positional', [1, 2, 3, 4])).toEqual([1, 2, 3, 4]);
    expect(keyed(ThingResolver, 'positional', [1, 2, 3])).toEqual([1, 2, 3]);
  });

  it('takes whatever other code passes as info', () => {
    expect(keyed(ThingResolver, 'query', [1, 2, 3, null])[3]).toBeNull();
  });
});
