import { Injectable, type INestApplicationContext } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { TypeOrmModule } from '@nestjs/typeorm';
import { CacheModule, CacheResult, CacheService } from 'nestjs-result-cache';
import { TypeOrmCacheModule, getCachedRepositoryToken, type CachedEntityRepository } from 'nestjs-result-cache/typeorm';
import { Column, Entity, PrimaryGeneratedColumn } from 'typeorm';
import { type Bench } from '../bench.js';
import { measure } from '../rounds.js';
import { type Target } from '../targets.js';

const HOW = { untracked: true, ttl: '1h' } as const;

@Injectable()
class Service {
  @CacheResult({ ...HOW, keyPrefix: 'given', key: () => 'k' })
  async keyGiven(): Promise<number> {
    return 1;
  }

  @CacheResult({ ...HOW, keyPrefix: 'from-arguments' })
  async keyFromArguments(category: string, page: { limit: number; offset: number }): Promise<number> {
    return category.length + page.limit;
  }
}

/** Its table stays empty: copying what was found is no cost of the way there. */
@Entity('bench_decorator_books')
class Book {
  @PrimaryGeneratedColumn() id!: number;
  @Column() category!: string;
}

/** What `@CacheResult` and cached repositories add to a hit in memory that somebody asks for by a key of his own. */
export async function decorator({ environment, report, rounds, ms }: Bench): Promise<Target[]> {
  const app = await start(environment.postgresUrl);
  const service = app.get(Service);
  const books = app.get<CachedEntityRepository<Book>>(getCachedRepositoryToken(Book));
  const { engine } = app.get(CacheService);
  const policy = engine.policy(HOW, 'direct');
  const direct = 'getOrSet with a key';
  const given = '@CacheResult, key given';
  const built = '@CacheResult, key from the arguments';
  const found = 'find of a cached repository';
  const calls = new Map<string, () => Promise<unknown>>([
    [direct, () => engine.getOrSet('direct', async () => 1, policy)],
    [given, () => service.keyGiven()],
    [built, () => service.keyFromArguments('books', { limit: 20, offset: 40 })],
    [found, () => books.find({ where: { category: 'novel' }, take: 20, skip: 40 }, { ttl: '1h' })],
  ]);
  for (const call of calls.values()) await call();
  await engine.drain();
  const rates = await measure(
    [...calls].map(([name, call]) => ({ name, run: (forMs) => oneAfterTheOther(call, forMs) })),
    rounds,
    ms,
  );
  report.rates('decorator, hits in memory, one caller', rates);
  await app.close();
  const costs = (name: string): number => 1e6 / rates.get(name)!.median - 1e6 / rates.get(direct)!.median;
  for (const name of [given, built, found]) report.figure('decorator, added to a call', 'µs', name, costs(name));
  return [
    { what: `µs a call: ${given}`, goal: 2, measured: costs(given), atLeast: false },
    { what: `µs a call: ${built}`, goal: 5, measured: costs(built), atLeast: false },
  ];
}

async function start(connection: string): Promise<INestApplicationContext> {
  class BenchModule {}
  const module = {
    module: BenchModule,
    imports: [
      TypeOrmModule.forRoot({ type: 'postgres', url: connection, entities: [Book], synchronize: true }),
      TypeOrmCacheModule.forFeature([Book]),
      CacheModule.forRoot({
        connection,
        tenancy: 'off',
        purgeInterval: false,
        freshness: { maxStaleness: '1h' },
        memory: { ttl: '1h' },
      }),
    ],
    providers: [Service],
  };
  return NestFactory.createApplicationContext(module, { logger: ['error', 'warn'] });
}

async function oneAfterTheOther(call: () => Promise<unknown>, forMs: number): Promise<number> {
  const started = performance.now();
  let done = 0;
  while (performance.now() < started + forMs) {
    for (let index = 0; index < 200; index++) await call();
    done += 200;
  }
  return (done * 1_000) / (performance.now() - started);
}
