import { Inject, Injectable, type Type } from '@nestjs/common';
import { CacheResult, InvalidatesDomain, type Freshness } from 'nestjs-result-cache';

/** Anything that can run SQL: a manager, a query runner, a client. */
export interface Queryable {
  query(text: string): Promise<unknown>;
}

/** What reads and writes go through: the open transaction's manager where there is one. */
export type Manager = () => Queryable;

export interface Ledger {
  /** How often a cached method really ran. */
  computed: number;
  total(within?: Queryable): Promise<number>;
  bounded(): Promise<number>;
  readonly manager: Manager;
  within<T>(work: () => Promise<T>): Promise<T>;
  /** @param within The caller's transaction, by hand. */
  invalidateAlone(work: (within?: Queryable) => Promise<unknown>, within?: Queryable): Promise<void>;
  invalidateInside(work: () => Promise<unknown>): Promise<void>;
  invalidateOutside(work: () => Promise<unknown>): Promise<void>;
  cachedOutside(): Promise<number>;
  cachedInside(): Promise<number>;
  /** Its computation opens a transaction and reads through the cache in it. */
  outer(): Promise<number>;
}

/** The same service for each way of carrying a transaction in the async context. */
export function ledgerOf(library: string, transactional: () => MethodDecorator, token: string): Type<Ledger> {
  const depends = (name: string) => ({ domains: ['account'], ttl: 60, keyPrefix: `${library} ${name}` });
  const bounded: Freshness = { maxStaleness: '1h' };

  @Injectable()
  class TransactionalLedger implements Ledger {
    computed = 0;

    constructor(@Inject(token) readonly manager: Manager) {}

    @CacheResult({ ...depends('total'), key: () => 'total' })
    async total(within?: Queryable): Promise<number> {
      return this.sum(within);
    }

    @CacheResult({ ...depends('bounded'), freshness: bounded })
    async bounded(): Promise<number> {
      return this.sum();
    }

    @transactional()
    async within<T>(work: () => Promise<T>): Promise<T> {
      return work();
    }

    @InvalidatesDomain('account')
    async invalidateAlone(work: (within?: Queryable) => Promise<unknown>, within?: Queryable): Promise<void> {
      await work(within);
    }

    @transactional()
    @InvalidatesDomain('account')
    async invalidateInside(work: () => Promise<unknown>): Promise<void> {
      await work();
    }

    @InvalidatesDomain('account')
    @transactional()
    async invalidateOutside(work: () => Promise<unknown>): Promise<void> {
      await work();
    }

    @CacheResult(depends('cachedOutside'))
    @transactional()
    async cachedOutside(): Promise<number> {
      return this.sum();
    }

    @transactional()
    @CacheResult(depends('cachedInside'))
    async cachedInside(): Promise<number> {
      return this.sum();
    }

    @CacheResult(depends('outer'))
    async outer(): Promise<number> {
      return this.within(() => this.total());
    }

    private async sum(within: Queryable = this.manager()): Promise<number> {
      this.computed++;
      const answer = (await within.query('SELECT sum(amount)::int FROM account')) as
        { sum: number }[] | { rows: { sum: number }[] };
      return (Array.isArray(answer) ? answer : answer.rows)[0]!.sum;
    }
  }
  return TransactionalLedger;
}

/** What a read returns, and whether it was computed. */
export type Outcome = [value: number, how: 'hit' | 'computed'];

export async function outcomeOf(ledger: Ledger, read: () => Promise<number>): Promise<Outcome> {
  const before = ledger.computed;
  const value = await read();
  return [value, ledger.computed === before ? 'hit' : 'computed'];
}

/** The table that ledgers sum up. */
export const ACCOUNTS = 'CREATE TABLE account (id int PRIMARY KEY, amount int NOT NULL)';
export const WATCH = [{ table: 'account', domain: 'account' }];

export const add = (amount: number): string => `UPDATE account SET amount = amount + ${amount} WHERE id = 1`;

/** The sum is 100, and the ledger's cached methods hold it. */
export async function prime(ledger: Ledger, database: Queryable, drain: () => Promise<void>): Promise<void> {
  await database.query('TRUNCATE account; INSERT INTO account VALUES (1, 60), (2, 40)');
  // Ends the proof by which the bounded method would be served from memory without asking.
  await ledger.invalidateAlone(async () => undefined);
  const reads = [() => ledger.total(), () => ledger.bounded()];
  for (const read of reads) await read();
  await drain();
  for (const read of reads) {
    // Nothing is stored while a transaction from before the installation runs anywhere on the server.
    for (let attempt = 1; ; attempt++) {
      const [value, how] = await outcomeOf(ledger, read);
      if (value === 100 && how === 'hit') break;
      if (value !== 100 || attempt === 5_000) throw new Error(`not primed: ${value}, ${how}`);
      await drain();
    }
  }
}
