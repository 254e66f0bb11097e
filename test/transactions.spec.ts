import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Module, type INestApplicationContext } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { CacheModule, CacheService } from 'nestjs-result-cache';
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { DataSource, type QueryRunner } from 'typeorm';
import { createDatabase, type TestDatabase } from './support/database.js';
import { installSettled } from './support/settled.js';
import { carriedCases } from './transactions/carried-cases.js';
import {
  ACCOUNTS,
  add,
  ledgerOf,
  outcomeOf,
  prime,
  WATCH,
  type Ledger,
  type Outcome,
  type Queryable,
} from './transactions/ledger.js';
import { type Played } from './transactions/play-carried.js';

let database: TestDatabase;

beforeAll(async () => {
  database = await createDatabase();
  await database.pool.query(ACCOUNTS);
  await installSettled(database);
});

afterAll(async () => {
  await database.drop();
});

describe('a transaction among the arguments of a cached method', () => {
  let app: INestApplicationContext;
  let dataSource: DataSource;
  let ledger: Ledger;
  const drain = (): Promise<void> => app.get(CacheService).engine.drain();

  beforeAll(async () => {
    dataSource = await new DataSource({ type: 'postgres', url: database.url }).initialize();
    const PlainLedger = ledgerOf('plain', () => () => undefined, 'manager');

    @Module({
      imports: [CacheModule.forRoot({ connection: database.url, tenancy: 'off', watch: WATCH })],
      providers: [PlainLedger, { provide: 'manager', useValue: () => dataSource.manager }],
    })
    class AppModule {}

    app = await (await Test.createTestingModule({ imports: [AppModule] }).compile()).init();
    ledger = app.get<Ledger>(PlainLedger);
  });

  afterAll(async () => {
    await app?.close();
    await dataSource?.destroy();
  });

  beforeEach(async () => {
    await prime(ledger, database.pool, drain);
  });

  /** An open transaction, and what is handed on of it. */
  interface Opened {
    handle: Queryable;
    end(statement: 'COMMIT' | 'ROLLBACK'): Promise<unknown>;
    release(): Promise<void>;
  }

  async function openRunner(pick: (runner: QueryRunner) => Queryable): Promise<Opened> {
    const runner = dataSource.createQueryRunner();
    await runner.startTransaction();
    return {
      handle: pick(runner),
      end: (statement) => (statement === 'COMMIT' ? runner.commitTransaction() : runner.rollbackTransaction()),
      release: async () => {
        if (runner.isTransactionActive) await runner.rollbackTransaction();
        await runner.release();
      },
    };
  }

  async function openClient(): Promise<Opened> {
    const client = await database.pool.connect();
    await client.query('BEGIN');
    return { handle: client, end: (statement) => client.query(statement), release: async () => client.release(true) };
  }

  it.each<[string, () => Promise<Opened>]>([
    ['an EntityManager', () => openRunner(({ manager }) => manager)],
    ['a QueryRunner', () => openRunner((runner) => runner)],
    ['a PoolClient', openClient],
  ])('%s: it sees its own writes, which nobody else does before the commit', async (name, open) => {
    const reads = async (within: Queryable | undefined, expected: Outcome): Promise<void> =>
      expect([name, await outcomeOf(ledger, () => ledger.total(within))]).toEqual([name, expected]);
    for (const end of ['ROLLBACK', 'COMMIT'] as const) {
      const { handle, ...transaction } = await open();
      try {
        await handle.query(add(5));
        await reads(handle, [105, 'computed']);
        await reads(handle, [105, 'computed']);
        await reads(undefined, [100, 'hit']);
        await transaction.end(end);
        await reads(undefined, end === 'COMMIT' ? [105, 'computed'] : [100, 'hit']);
        await drain();
        // The handle stands for no transaction any more.
        await reads(handle, [end === 'COMMIT' ? 105 : 100, 'hit']);
      } finally {
        await transaction.release();
      }
    }
  });

  it('neither joins a computation under way nor is joined by others', async () => {
    await database.pool.query(add(1));
    ledger.computed = 0;
    let go!: () => void;
    let hasAsked!: () => void;
    const gate = new Promise<void>((resolve) => (go = resolve));
    const asked = new Promise<void>((resolve) => (hasAsked = resolve));
    const slowly = (through: Queryable): Queryable => ({
      query: async (text) => {
        const answer = await through.query(text);
        hasAsked();
        await gate;
        return answer;
      },
    });
    const outside = ledger.total(slowly(database.pool));
    await asked;
    try {
      await dataSource.transaction(async (manager) => {
        await manager.query(add(6));
        const inside = ledger.total(manager);
        await manager.query('SELECT 1');
        // Had it joined, it would wait for the one outside.
        expect(ledger.computed).toBe(2);
        expect(await inside).toBe(107);
      });
      // It comes after the commit, so neither the one under way nor anything stored will do.
      expect(await ledger.total()).toBe(107);
    } finally {
      go();
    }
    expect(await outside).toBe(101);
    expect(await ledger.total()).toBe(107);
  });

  it('takes @InvalidatesDomain along: its effect comes with the commit', async () => {
    for (const end of ['ROLLBACK', 'COMMIT'] as const) {
      const { handle, ...transaction } = await openClient();
      try {
        await ledger.invalidateAlone(async () => undefined, handle);
        expect(await outcomeOf(ledger, () => ledger.total())).toEqual([100, 'hit']);
        await transaction.end(end);
        expect(await outcomeOf(ledger, () => ledger.total())).toEqual([100, end === 'COMMIT' ? 'computed' : 'hit']);
      } finally {
        await transaction.release();
      }
    }
  });
});

describe.each(['@nestjs-cls/transactional', 'typeorm-transactional'])('in a transaction that %s carries', (library) => {
  it.each(carriedCases.map(({ name }) => name))('%s', async (name) => {
    const all = await playCarried();
    const failures = all.filter((played) => played.library === library && played.name === name);
    expect(failures.map(({ failure }) => failure)).toEqual([null]);
  });
});

let playing: Promise<Played[]> | undefined;
let child: ChildProcess | undefined;
afterAll(() => {
  child?.kill();
});

/** All cases in one process of its own; see there why. */
function playCarried(): Promise<Played[]> {
  return (playing ??= (async () => {
    const path = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
    const player = (child = fork(path('./transactions/play-carried.ts'), {
      execArgv: ['--import', path('./support/register-ts.mjs')],
    }));
    player.send({ url: database.url });
    const ended = once(player, 'exit').then(([code]) => {
      throw new Error(`the process that plays the cases ended with ${code}`);
    });
    ended.catch(() => undefined);
    const [played] = (await Promise.race([once(player, 'message'), ended])) as [Played[]];
    return played;
  })());
}
