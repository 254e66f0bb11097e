import { dependencyCases } from './contract/dependency-cases.js';
import { exchangeCases } from './contract/exchange-cases.js';
import { fillCases } from './contract/fill-cases.js';
import { housekeepingCases } from './contract/housekeeping-cases.js';
import { invalidationCases } from './contract/invalidation-cases.js';
import { leaseCases } from './contract/lease-cases.js';
import { lossCases } from './contract/loss-cases.js';
import { type StoreHost } from './contract/store-host.js';
import { World } from './contract/world.js';

/** One sentence of the contract. */
export interface ContractCase {
  readonly name: string;
  /** @throws AssertionError where the store does not keep it. */
  run(): Promise<void>;
}

/** The cases of the contract, and what to do around them. */
export interface StoreContract {
  /** To be run one after the other, in this order: the last ones crash the store. */
  readonly cases: readonly ContractCase[];
  /** Before the first case. */
  setUp(): Promise<void>;
  /** After the last case, also after a failure. */
  tearDown(): Promise<void>;
}

/**
 * What a `CacheStore` must do so that the engine above it is never stale, as cases for any test runner.
 *
 * @param createHost Makes a host over an empty PostgreSQL database; the contract creates its tables there.
 * @example
 * const contract = storeContract(createHost);
 * beforeAll(contract.setUp);
 * afterAll(contract.tearDown);
 * for (const { name, run } of contract.cases) it(name, run);
 */
export function storeContract(createHost: () => Promise<StoreHost>): StoreContract {
  let host: StoreHost | undefined;
  let world: World | undefined;
  const all = {
    ...exchangeCases,
    ...fillCases,
    ...dependencyCases,
    ...invalidationCases,
    ...housekeepingCases,
    ...leaseCases,
    ...lossCases,
  };
  return {
    cases: Object.entries(all).map(([name, run]) => ({
      name,
      run: async () => {
        if (world === undefined) throw new Error('call setUp() of the store contract before its cases');
        try {
          await run(world);
        } finally {
          await world.endTransactions();
        }
      },
    })),
    setUp: async () => {
      host = await createHost();
      world = await World.create(host);
    },
    tearDown: async () => {
      await world?.close();
      await host?.close();
    },
  };
}
