/* eslint-disable @typescript-eslint/no-unused-vars -- arguments that only the key sees */
import { describe, expect, it } from '@jest/globals';
import {
  type ArgumentMetadata,
  type CanActivate,
  type CallHandler,
  ClassSerializerInterceptor,
  Controller,
  type ExecutionContext,
  Get,
  Header,
  HttpException,
  Injectable,
  type NestInterceptor,
  Param,
  ParseIntPipe,
  type PipeTransform,
  Query,
  Req,
  Res,
  SetMetadata,
  UseGuards,
  UseInterceptors,
  UsePipes,
} from '@nestjs/common';
import { Exclude, Expose } from 'class-transformer';
import { CacheConfigurationError, CacheResult, InvalidatesDomain } from 'nestjs-result-cache';
import { setImmediate as turn } from 'node:timers/promises';
import { map, type Observable } from 'rxjs';
import { itemsWorld } from './support/items.js';
import { type StartedNest } from './support/nest.js';

const world = itemsWorld();

@Injectable()
class TokenGuard implements CanActivate {
  canActivate(execution: ExecutionContext): boolean {
    const { headers } = execution.switchToHttp().getRequest<{ headers: Record<string, string> }>();
    return headers['authorization'] === 'secret';
  }
}

@Injectable()
class EnvelopeInterceptor implements NestInterceptor {
  intercept(_execution: ExecutionContext, next: CallHandler): Observable<unknown> {
    return next.handle().pipe(map((data: unknown) => ({ data })));
  }
}

class UpperCasePipe implements PipeTransform<unknown> {
  transform(value: unknown, { type }: ArgumentMetadata): unknown {
    return type === 'query' && typeof value === 'string' ? value.toUpperCase() : value;
  }
}

/** What a hit and a miss say in `Cache-Status`. */
const HIT = /^default; hit;/;
const MISS = /^default; fwd=miss;/;

/** The same request twice, with what was computed stored in between. */
async function twice(nest: StartedNest, path: string, headers: Record<string, string> = {}) {
  const first = await nest.get(path).set(headers);
  await nest.drain();
  const second = await nest.get(path).set(headers);
  return [first, second] as const;
}

describe.each(['above', 'below'] as const)('@CacheResult %s the other decorators', (place) => {
  const cached = CacheResult({ domains: ['item'] });
  // Both orders run the same tests: decorators are applied from the last to the first.
  const order =
    (...others: MethodDecorator[]): MethodDecorator =>
    (target, key, descriptor) => {
      const all = place === 'above' ? [cached as MethodDecorator, ...others] : [...others, cached as MethodDecorator];
      for (const decorate of all.reverse()) decorate(target, key, descriptor);
    };

  @Controller()
  class OrderController {
    calls = 0;

    @order(Get('guarded'), UseGuards(TokenGuard))
    async guarded(): Promise<string> {
      return `secret ${++this.calls}`;
    }

    @order(Get('wrapped'), UseInterceptors(EnvelopeInterceptor), Header('x-kind', 'wrapped'), SetMetadata('own', 1))
    async wrapped(): Promise<number> {
      return ++this.calls;
    }

    @order(Get('piped/:id'), UsePipes(UpperCasePipe))
    async piped(@Param('id', ParseIntPipe) id: number, @Query('name') name: string): Promise<unknown> {
      return { id, name, calls: ++this.calls };
    }

    @order(Get('failing'))
    async failing(): Promise<never> {
      throw new HttpException(`teapot ${++this.calls}`, 418);
    }
  }

  const start = () => world.start({ controllers: [OrderController] });

  it('a guard guards on a hit as on a miss', async () => {
    const nest = await start();
    const [miss, hit] = await twice(nest, '/guarded', { authorization: 'secret' });
    expect([miss.text, hit.text]).toEqual(['secret 1', 'secret 1']);
    expect([miss.headers['cache-status'], hit.headers['cache-status']]).toEqual([
      expect.stringMatching(MISS),
      expect.stringMatching(HIT),
    ]);
    const refused = await nest.get('/guarded');
    expect(refused.status).toBe(403);
    expect(refused.text).not.toContain('secret');
  });

  it('an interceptor transforms, and headers are set, on a hit as on a miss', async () => {
    const [miss, hit] = await twice(await start(), '/wrapped');
    expect(hit.headers['cache-status']).toMatch(HIT);
    expect([miss.body, hit.body]).toEqual([{ data: 1 }, { data: 1 }]);
    expect([miss.headers['x-kind'], hit.headers['x-kind']]).toEqual(['wrapped', 'wrapped']);
  });

  it('pipes run before the key is made', async () => {
    const nest = await start();
    const [miss, hit] = await twice(nest, '/piped/007?name=ada');
    expect(hit.headers['cache-status']).toMatch(HIT);
    expect([miss.body, hit.body]).toEqual(Array(2).fill({ id: 7, name: 'ADA', calls: 1 }));
    // What the pipe makes equal is one entry, and what it refuses never reaches the cache.
    expect((await nest.get('/piped/7?name=ADA')).body).toEqual({ id: 7, name: 'ADA', calls: 1 });
    expect((await nest.get('/piped/8?name=ADA')).body).toEqual({ id: 8, name: 'ADA', calls: 2 });
    expect((await nest.get('/piped/x?name=ADA')).status).toBe(400);
  });

  it('an exception stays what it is, and is not cached', async () => {
    const [first, second] = await twice(await start(), '/failing');
    expect([first.status, first.body.message]).toEqual([418, 'teapot 1']);
    expect([second.status, second.body.message]).toEqual([418, 'teapot 2']);
  });
});

describe('class-serializer', () => {
  class Account {
    id = 1;

    @Exclude()
    password = 'hunter2';

    createdAt = new Date(0);

    @Expose()
    get label(): string {
      return `#${this.id}`;
    }
  }

  @Controller()
  @UseInterceptors(ClassSerializerInterceptor)
  class AccountController {
    @Get('account')
    @CacheResult({ domains: ['item'], classes: [Account] })
    async account(): Promise<Account> {
      return new Account();
    }

    @CacheResult({ domains: ['item'], classes: [Account] })
    @Get('accounts')
    async accounts(): Promise<Account[]> {
      return [new Account(), new Account()];
    }
  }

  const shown = { id: 1, createdAt: '1970-01-01T00:00:00.000Z', label: '#1' };

  it.each([
    ['/account', shown],
    ['/accounts', [shown, shown]],
  ])('hides and shows the same on a miss, on a hit, and in another process: %s', async (path, body) => {
    const [miss, hit] = await twice(await world.start({ controllers: [AccountController] }), path);
    const elsewhere = await world.start({ controllers: [AccountController] });
    const other = await elsewhere.get(path);
    expect([hit.headers['cache-status'], other.headers['cache-status']]).toEqual(
      Array(2).fill(expect.stringMatching(HIT)),
    );
    expect([miss.body, hit.body, other.body]).toEqual([body, body, body]);
    expect([miss.text, hit.text, other.text].join()).not.toContain('hunter2');
  });
});

describe('the request and the response as arguments', () => {
  it('@Res() is refused when the application starts, with what to write', async () => {
    @Controller()
    class WritingController {
      @Get('writing')
      @CacheResult({ domains: ['item'] })
      async writing(@Res() response: { send(text: string): void }): Promise<void> {
        response.send('x');
      }
    }
    await expect(world.start({ controllers: [WritingController] })).rejects.toThrow(
      /@CacheResult on WritingController\.writing: it takes @Res\(\) or @Next\(\).*use @Res\(\{ passthrough: true \}\)/,
    );
  });

  it('@Res({ passthrough: true }) is no part of the key', async () => {
    @Controller()
    class PassingController {
      calls = 0;

      @CacheResult({ domains: ['item'] })
      @Get('passing/:id')
      async passing(@Res({ passthrough: true }) _response: unknown, @Param('id') id: string): Promise<string> {
        return `${id} ${++this.calls}`;
      }
    }
    const nest = await world.start({ controllers: [PassingController] });
    const [miss, hit] = await twice(nest, '/passing/a');
    expect([miss.text, hit.text]).toEqual(['a 1', 'a 1']);
    expect((await nest.get('/passing/b')).text).toBe('b 2');
  });

  it('@Req() is refused by its index, and served with a key of its own', async () => {
    @Controller()
    class RequestController {
      calls = 0;

      @Get('refused')
      @CacheResult({ domains: ['item'] })
      async refused(@Query('a') _a: string, @Req() _request: unknown): Promise<number> {
        return ++this.calls;
      }

      @Get('keyed')
      @CacheResult({ domains: ['item'], key: (_a: string, request: { url: string }) => request.url })
      async keyed(@Query('a') _a: string, @Req() _request: unknown): Promise<number> {
        return ++this.calls;
      }
    }
    const errors: Error[] = [];
    const nest = await world.start({
      controllers: [RequestController],
      prepare: (app) =>
        app.useGlobalInterceptors({
          intercept: (_execution: ExecutionContext, next: CallHandler) =>
            next.handle().pipe((source) => {
              source.subscribe({ error: (error: Error) => errors.push(error) });
              return source;
            }),
        }),
    });
    expect((await nest.get('/refused?a=1')).status).toBe(500);
    expect(errors[0]).toBeInstanceOf(CacheConfigurationError);
    expect(errors[0]!.message).toMatch(
      /^RequestController\.refused: argument 1 is an? .*cannot be part of a cache key.*pass `key: \(\.\.\.args\) => …`/,
    );
    const [miss, hit] = await twice(nest, '/keyed?a=1');
    expect(hit.headers['cache-status']).toMatch(HIT);
    expect(hit.text).toBe(miss.text);
    expect((await nest.get('/keyed?a=2')).headers['cache-status']).toMatch(MISS);
  });
});

describe('@InvalidatesDomain', () => {
  @Injectable()
  class PriceService {
    calls = 0;
    failing = false;

    @CacheResult({ domains: ['item'], tags: ['list'] })
    async prices(): Promise<number> {
      return ++this.calls;
    }

    @CacheResult({ tags: (list: string) => [`list-${list}`] })
    async list(_list: string): Promise<number> {
      return ++this.calls;
    }

    @InvalidatesDomain('item')
    async write(): Promise<string> {
      if (this.failing) throw new RangeError('half written');
      return 'written';
    }

    @InvalidatesDomain('other', { tags: (list: string) => [`list-${list}`] })
    async writeList(_list: string): Promise<void> {}

    written = false;
    @InvalidatesDomain('other', { tags: () => [''] })
    async wrong(): Promise<void> {
      this.written = true;
    }
  }

  async function start() {
    const nest = await world.start({ providers: [PriceService] });
    const prices = nest.app.get(PriceService);
    const read = async (): Promise<number> => {
      await prices.prices();
      await nest.drain();
      return prices.prices();
    };
    const [, elsewhere] = [nest, await world.start({ providers: [PriceService] })];
    return { nest, prices, read, elsewhere: elsewhere.app.get(PriceService) };
  }

  it('makes void in all processes before the caller gets its answer', async () => {
    const { prices, read, elsewhere } = await start();
    const before = await read();
    elsewhere.calls = 100;
    expect(await elsewhere.prices()).toBe(before);
    expect(await prices.write()).toBe('written');
    expect(await elsewhere.prices()).toBe(101);
  });

  it.each([false, true])('waits for it, whether or not the method throws: %s', async (failing) => {
    const { nest, prices } = await start();
    prices.failing = failing;
    const { store } = nest.cache.engine;
    const invalidate = store.invalidate.bind(store);
    const order: string[] = [];
    store.invalidate = async (dependencies) => {
      await turn();
      const transaction = await invalidate(dependencies);
      order.push('void');
      return transaction;
    };
    await prices.write().catch(() => undefined);
    order.push('answered');
    expect(order).toEqual(['void', 'answered']);
  });

  it('does so too when the method throws, and the error stays what it is', async () => {
    const { prices, read } = await start();
    const before = await read();
    prices.failing = true;
    const failure = new RangeError('half written');
    await expect(prices.write()).rejects.toThrow(failure);
    await expect(prices.write()).rejects.toBeInstanceOf(RangeError);
    expect(await prices.prices()).toBeGreaterThan(before);
  });

  it('takes tags from the arguments', async () => {
    const { nest, prices } = await start();
    const a = await prices.list('a');
    const b = await prices.list('b');
    await nest.drain();
    await prices.writeList('a');
    expect(await prices.list('b')).toBe(b);
    expect(await prices.list('a')).not.toBe(a);
  });

  it('finds a mistake in its tags before anything is written', async () => {
    const { prices } = await start();
    await expect(prices.wrong()).rejects.toThrow(/tags holds ""/);
    expect(prices.written).toBe(false);
  });

  it('survives a tag that PostgreSQL cannot hold', async () => {
    const { nest, prices } = await start();
    for (const odd of ['a\0b', '\ud800', 'new\nline', 'x'.repeat(10_000)]) {
      const before = await prices.list(odd);
      await nest.drain();
      expect(await prices.list(odd)).toBe(before);
      await prices.writeList(odd);
      expect(await prices.list(odd)).not.toBe(before);
    }
    // Nothing that could not be written is owed, which would turn the cache off.
    const before = await prices.prices();
    await nest.drain();
    expect(await prices.prices()).toBe(before);
    expect(nest.warnings).toEqual([]);
  });
});
