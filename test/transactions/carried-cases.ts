import assert from 'node:assert/strict';
import { AsyncResource } from 'node:async_hooks';
import { add, outcomeOf, type Ledger, type Outcome, type Queryable } from './ledger.js';

/** What a case has: the ledger, primed with a sum of 100; the database past it; and a way to wait for stores. */
export interface Setting {
  ledger: Ledger;
  database: Queryable;
  drain(): Promise<void>;
}

export interface Case {
  name: string;
  run(setting: Setting): Promise<void>;
}

const nowhere = new AsyncResource('outside of any transaction');

/** Do as somebody who is not in the transaction around the caller. */
const elsewhere = <T>(work: () => Promise<T>): Promise<T> => nowhere.runInAsyncScope(work);

const nothing = async (): Promise<void> => undefined;
const failing = async (): Promise<never> => {
  throw new Error('on purpose');
};

async function reads(ledger: Ledger, read: () => Promise<number>, expected: Outcome): Promise<void> {
  assert.deepEqual(await outcomeOf(ledger, read), expected);
}

/** What must hold in a transaction that a library carries in the async context. Each case begins with a sum of 100, cached. */
export const carriedCases: readonly Case[] = [
  {
    name: 'one sees one’s own writes, which nobody else does before the commit',
    async run({ ledger }) {
      const write = async (): Promise<void> => {
        await ledger.manager().query(add(5));
        await reads(ledger, () => ledger.total(), [105, 'computed']);
        await elsewhere(() => reads(ledger, () => ledger.total(), [100, 'hit']));
      };
      await assert.rejects(
        ledger.within(() => write().then(failing)),
        /on purpose/,
      );
      await reads(ledger, () => ledger.total(), [100, 'hit']);
      await ledger.within(write);
      await reads(ledger, () => ledger.total(), [105, 'computed']);
    },
  },
  {
    name: 'one does not see through the cache what one’s snapshot does not show',
    async run({ ledger, database }) {
      await ledger.within(async () => {
        await ledger.manager().query('SET TRANSACTION ISOLATION LEVEL REPEATABLE READ');
        assert.equal(await ledger.total(), 100);
        await database.query(add(9));
        assert.equal(await elsewhere(() => ledger.total()), 109);
        assert.equal(await ledger.total(), 100);
      });
      assert.equal(await ledger.total(), 109);
    },
  },
  {
    name: '@CacheResult above @Transactional caches, below it computes every time',
    async run({ ledger, database, drain }) {
      await ledger.cachedOutside();
      await drain();
      await reads(ledger, () => ledger.cachedOutside(), [100, 'hit']);
      await database.query(add(1));
      await reads(ledger, () => ledger.cachedOutside(), [101, 'computed']);
      await reads(ledger, () => ledger.cachedInside(), [101, 'computed']);
      await drain();
      await reads(ledger, () => ledger.cachedInside(), [101, 'computed']);
    },
  },
  {
    name: 'a cached computation that reads inside a transaction is not stored',
    async run({ ledger, drain }) {
      await reads(ledger, () => ledger.outer(), [100, 'computed']);
      await drain();
      await reads(ledger, () => ledger.outer(), [100, 'computed']);
      await reads(ledger, () => ledger.total(), [100, 'hit']);
    },
  },
  {
    name: '@InvalidatesDomain inside takes effect with the commit',
    async run({ ledger, drain }) {
      await ledger.invalidateInside(nothing);
      await reads(ledger, () => ledger.total(), [100, 'computed']);
      await drain();
      await ledger.within(async () => {
        await ledger.invalidateAlone(nothing);
        await elsewhere(() => reads(ledger, () => ledger.total(), [100, 'hit']));
      });
      await reads(ledger, () => ledger.total(), [100, 'computed']);
    },
  },
  {
    name: '@InvalidatesDomain inside takes no effect with a rollback',
    async run({ ledger }) {
      await assert.rejects(ledger.invalidateInside(failing), /on purpose/);
      await assert.rejects(
        ledger.within(() => ledger.invalidateAlone(nothing).then(failing)),
        /on purpose/,
      );
      await reads(ledger, () => ledger.total(), [100, 'hit']);
    },
  },
  {
    name: '@InvalidatesDomain inside leaves the method its own error where the transaction takes no more statements',
    async run({ ledger }) {
      await assert.rejects(
        ledger.invalidateInside(() => ledger.manager().query('SELECT 1 / 0')),
        /division by zero/,
      );
      await reads(ledger, () => ledger.total(), [100, 'hit']);
    },
  },
  {
    name: '@InvalidatesDomain above @Transactional comes after its end, also if it throws',
    async run({ ledger, drain }) {
      await ledger.invalidateOutside(nothing);
      await reads(ledger, () => ledger.total(), [100, 'computed']);
      await drain();
      await assert.rejects(ledger.invalidateOutside(failing), /on purpose/);
      await reads(ledger, () => ledger.total(), [100, 'computed']);
    },
  },
  {
    name: '@InvalidatesDomain without a transaction takes effect at once, also if the method throws',
    async run({ ledger, drain }) {
      await ledger.invalidateAlone(nothing);
      await reads(ledger, () => ledger.total(), [100, 'computed']);
      await drain();
      await assert.rejects(ledger.invalidateAlone(failing), /on purpose/);
      await reads(ledger, () => ledger.total(), [100, 'computed']);
    },
  },
  {
    name: 'one reads one’s own writes at once, however much staleness is allowed',
    async run({ ledger, database, drain }) {
      // The bound is in force: somebody else's write is not asked for.
      await database.query(add(1));
      await reads(ledger, () => ledger.bounded(), [100, 'hit']);
      await ledger.invalidateAlone(nothing);
      await reads(ledger, () => ledger.bounded(), [101, 'computed']);
      await drain();
      await ledger.invalidateInside(() => ledger.manager().query(add(1)));
      await reads(ledger, () => ledger.bounded(), [102, 'computed']);
      await drain();
      await ledger.within(async () => {
        await ledger.invalidateAlone(() => ledger.manager().query(add(1)));
        // Asked while the transaction is open, which must not count as proof after its end.
        await elsewhere(() => reads(ledger, () => ledger.bounded(), [102, 'hit']));
      });
      await reads(ledger, () => ledger.bounded(), [103, 'computed']);
    },
  },
];
