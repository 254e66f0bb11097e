import { Injectable, type INestApplicationContext } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { CacheModule, CacheResult, CacheService } from 'nestjs-result-cache';
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

/** What `@CacheResult` adds to a hit in memory that somebody asks for by a key of his own. */
export async function decorator({ environment, report, rounds, ms }: Bench): Promise<Target[]> {
  const app = await start(environment.postgresUrl);
  const service = app.get(Service);
  const { engine } = app.get(CacheService);
  const policy = engine.policy(HOW, 'direct');
  const direct = 'getOrSet with a key';
  const given = '@CacheResult, key given';
  const built = '@CacheResult, key from the arguments';
  const calls = new Map<string, () => Promise<unknown>>([
    [direct, () => engine.getOrSet('direct', async () => 1, policy)],
    [given, () => service.keyGiven()],
    [built, () => service.keyFromArguments('books', { limit: 20, offset: 40 })],
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
  for (const name of [given, built]) report.figure('decorator, added to a call', 'µs', name, costs(name));
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
