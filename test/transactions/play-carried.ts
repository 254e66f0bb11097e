import 'reflect-metadata';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { getDataSourceToken, TypeOrmModule } from '@nestjs/typeorm';
import { ClsPluginTransactional, Transactional as ClsTransactional, TransactionHost } from '@nestjs-cls/transactional';
import { TransactionalAdapterTypeOrm } from '@nestjs-cls/transactional-adapter-typeorm';
import { ClsModule } from 'nestjs-cls';
import { CacheModule, CacheService } from 'nestjs-result-cache';
import pg from 'pg';
import { DataSource, type DataSourceOptions } from 'typeorm';
import {
  addTransactionalDataSource,
  initializeTransactionalContext,
  StorageDriver,
  Transactional as TypeormTransactional,
} from 'typeorm-transactional';
import { carriedCases } from './carried-cases.js';
import { ledgerOf, prime, WATCH, type Ledger, type Manager } from './ledger.js';

/** What became of one case. */
export interface Played {
  library: string;
  name: string;
  /** Stack of its error, if it failed. */
  failure: string | null;
}

const FIRST = getDataSourceToken();
const SECOND = getDataSourceToken('second');

const ledgers = {
  '@nestjs-cls/transactional': ledgerOf('cls', () => ClsTransactional(), 'cls manager'),
  'typeorm-transactional': ledgerOf(
    'typeorm',
    () => TypeormTransactional({ connectionName: 'second' }),
    'typeorm manager',
  ),
};

// Not a jest spec: these packages are CommonJS and require Nest's ES modules, which node can and jest cannot.
async function play(url: string): Promise<Played[]> {
  initializeTransactionalContext({ storageDriver: StorageDriver.ASYNC_LOCAL_STORAGE });
  const options = { type: 'postgres', url, retryAttempts: 0 } as const;

  @Module({
    imports: [
      TypeOrmModule.forRoot(options),
      TypeOrmModule.forRootAsync({
        name: 'second',
        useFactory: () => options,
        dataSourceFactory: async (given?: DataSourceOptions) =>
          addTransactionalDataSource({ name: 'second', dataSource: new DataSource(given!) }),
      }),
      ClsModule.forRoot({
        plugins: [
          new ClsPluginTransactional({
            adapter: new TransactionalAdapterTypeOrm({ dataSourceToken: FIRST as string }),
          }),
        ],
      }),
      CacheModule.forRoot({ connection: url, tenancy: 'off', watch: WATCH }),
    ],
    providers: [
      ...Object.values(ledgers),
      {
        provide: 'cls manager',
        useFactory:
          (host: TransactionHost<TransactionalAdapterTypeOrm>): Manager =>
          () =>
            host.tx,
        inject: [TransactionHost],
      },
      {
        provide: 'typeorm manager',
        useFactory:
          (second: DataSource): Manager =>
          () =>
            second.manager,
        inject: [SECOND],
      },
    ],
  })
  class AppModule {}

  const app = await NestFactory.createApplicationContext(AppModule, { logger: ['error', 'warn'] });
  // A case that fails may leave a lock behind, which must fail the others and not hang them.
  const database = new pg.Pool({ connectionString: url, statement_timeout: 5_000 });
  const drain = (): Promise<void> => app.get(CacheService).engine.drain();
  const played: Played[] = [];
  try {
    for (const [library, type] of Object.entries(ledgers)) {
      const ledger = app.get<Ledger>(type);
      for (const { name, run } of carriedCases) {
        let failure: string | null = null;
        try {
          await prime(ledger, database, drain);
          await run({ ledger, database, drain });
        } catch (error) {
          failure = (error as Error).stack ?? String(error);
        }
        played.push({ library, name, failure });
      }
    }
  } finally {
    await app.close();
    await database.end();
  }
  return played;
}

process.once('message', ({ url }: { url: string }) => {
  play(url).then(
    (played) => process.send!(played, () => process.exit()),
    (error: Error) => {
      console.error(error);
      process.exit(1);
    },
  );
});
