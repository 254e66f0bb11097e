import { type DynamicModule, type Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { CacheModule } from 'nestjs-result-cache';
import pg from 'pg';
import { type Bench } from '../bench.js';
import { median } from '../quantile.js';
import { type Target } from '../targets.js';

const TITLE = 'start-up of an application';
const [EMPTY, FIRST, LATER] = [
  'without a cache',
  'with CacheModule, the first time',
  'with CacheModule, later',
] as const;

class EmptyModule {}

/** How much longer an application takes to start with the module: where all is to be installed, and where it is. */
export async function startup({ environment, report, rounds }: Bench): Promise<Target[]> {
  const administrator = new pg.Client(environment.postgresUrl);
  await administrator.connect();
  const took = new Map<string, number[]>([EMPTY, FIRST, LATER].map((name) => [name, []]));
  for (let round = -1; round < rounds; round++) {
    const database = `bench_startup_${round + 1}`;
    const url = new URL(environment.postgresUrl);
    url.pathname = database;
    await administrator.query(`CREATE DATABASE ${database}`);
    await createTable(url.href);
    const ms: Record<string, number> = {
      [EMPTY]: await start(EmptyModule),
      [FIRST]: await start(cached(url.href)),
      [LATER]: await start(cached(url.href)),
    };
    await administrator.query(`DROP DATABASE ${database} WITH (FORCE)`);
    // The first round loads and compiles.
    if (round >= 0) for (const [name, times] of took) times.push(ms[name]!);
  }
  await administrator.end();
  console.log(`\n${TITLE}`);
  for (const [name, times] of took) report.figure(TITLE, 'ms', name, median(times));
  return [];
}

async function createTable(url: string): Promise<void> {
  const client = new pg.Client(url);
  await client.connect();
  await client.query('CREATE TABLE users (id int PRIMARY KEY, tenant_id text NOT NULL)');
  await client.end();
}

function cached(connection: string): DynamicModule {
  return {
    module: class CachedModule {},
    imports: [
      CacheModule.forRoot({
        connection,
        tenancy: 'off',
        watch: [{ table: 'users', domain: 'user', tenantColumn: 'tenant_id' }],
      }),
    ],
  };
}

async function start(module: Type | DynamicModule): Promise<number> {
  const started = performance.now();
  const app = await NestFactory.createApplicationContext(module, { logger: ['error', 'warn'] });
  const ms = performance.now() - started;
  await app.close();
  return ms;
}
