import { type CacheStore } from '../../core/store.js';
import { type WatchedTable } from '../../postgres/watched-table.js';

/** A connection to the database; a connected `pg.Client` is one. */
export interface ContractClient {
  query(text: string, values?: unknown[]): Promise<{ rows: any[] }>;
  end(): Promise<void>;
}

/** What the contract needs from whoever implements a store: a database of its own, and ways to reach it. */
export interface StoreHost {
  /** A connection of its own to the database whose writes the store must notice. The contract ends it. */
  connect(): Promise<ContractClient>;
  /**
   * The store under test, ready for use, with these tables watched. Called more than once: each call gives the same
   * store as another process would have it.
   */
  open(watch: readonly WatchedTable[]): Promise<CacheStore>;
  /** Do to the store what a crash of its servers does: entries, log and incarnation are lost at once. */
  crash(): Promise<void>;
  /** Close what `open` opened, and drop the database. */
  close(): Promise<void>;
}
