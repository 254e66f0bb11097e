import { type BreakerStatus } from './circuit-breaker.js';
import { type Dependencies } from './dependencies.js';
import { type Fence } from './fence.js';
import { type StatementInference } from './inference.js';

/** One line of the invalidation log, as an exchange reports it. */
export interface Touch {
  readonly tag: string;
  readonly xid: number;
  /** The row stands for older, deleted ones of the same tag too. */
  readonly settled: boolean;
}

/** A touch of this tag tells that other tables are watched than before, or in another way, or that triggers were found missing. */
export const WATCHING_TAG = '@!watching';

/** What can be proved about a stored row without its value: its fence, when it ends, and what it depends on. */
export interface Proof {
  readonly fence: Fence;
  /** Milliseconds since the epoch, by the database's clock. */
  readonly expiresAt: number;
  readonly cachedAt: number;
  /** How long computing it took, if it was computed. */
  readonly computeMs: number | null;
  readonly tags: readonly string[];
}

/** A row as it was read: one statement returned value and proof together. */
export interface StoredRow {
  readonly key: string;
  readonly proof: Proof;
  /** The proof as stored, which identifies the very row. */
  readonly proofText: string;
  readonly json: string;
  readonly types: string | null;
  /**
   * Something that it depends on was touched since its fence, but neither it nor a value it was made of was deleted. Told by
   * an exchange with `prove` only, of a row that may be served all the same.
   */
  readonly isInvalidated?: true;
}

/** What one turn of the event loop asks the store. */
export interface ExchangeRequest {
  /** Report what was touched since this fence; `null` when the process knows nothing yet. */
  readonly since: Fence | null;
  readonly keys: readonly string[];
  /**
   * Return only rows which the log itself proves untouched; for rows older than what the process remembers. Of others, only
   * those that were stored with `staleMs` and not deleted, marked `isInvalidated`.
   */
  readonly prove?: boolean;
  /** Nobody needs the answer after so many milliseconds: the store may reject then, and drop a connection that hangs. */
  readonly withinMs?: number;
}

/** What a store answers, all of it seen in one snapshot. */
export interface ExchangeAnswer {
  readonly fence: Fence;
  /** An entry whose fence reaches below is void. */
  readonly horizon: number;
  /** The database's clock, milliseconds since the epoch. */
  readonly now: number;
  /** `'everything'` when more was touched than is worth listing. */
  readonly touched: readonly Touch[] | 'everything';
  /** Since then tables were watched, or unwatched, or watched in another way: what an audit told may hold no longer. */
  readonly rewatched?: boolean;
  /** Also such as have expired by their proof and are kept longer. */
  readonly rows: readonly StoredRow[];
}

/** A value on its way into the store. */
export interface Fill {
  readonly key: string;
  readonly json: string;
  readonly types: string | null;
  /** Taken before the computation started. */
  readonly fence: Fence;
  readonly ttlMs: number;
  /** Milliseconds beyond `ttlMs` that the row is kept, for readers who would rather have an old value than none. Default 0. */
  readonly staleMs?: number;
  /** Tags already in written form (from nested reads, or learned before). */
  readonly tags: readonly string[];
  /** Dependencies still to be written as tags. */
  readonly dependencies: Dependencies;
  readonly tenantId: string | null;
  readonly view: string | null;
  readonly computeMs: number | null;
}

/** A process asks for the right to compute a missing value. */
export interface LeaseClaim {
  readonly key: string;
  /** Taken before the claim. The lease is void when something that the value depends on was touched since. */
  readonly fence: Fence;
  /** Tags of the value that are known in written form. */
  readonly tags: readonly string[];
  /** Dependencies still to be written as tags. */
  readonly dependencies: Dependencies;
  readonly ttlMs: number;
}

/** Who has the lease of a key now. */
export interface LeaseAnswer {
  /** The claim was granted. */
  readonly isGranted: boolean;
  /** The holder's fencing number: a later holder of the key has a higher one. 0 where it was released just now. */
  readonly number: number;
  /** Milliseconds until the lease ends by itself. */
  readonly leftMs: number;
}

/** Names one holding of a lease. */
export interface LeaseToken {
  readonly key: string;
  readonly number: number;
  /** Of the claim's fence: another incarnation may give out the same numbers. */
  readonly incarnation: string;
}

/**
 * Leases on the store's own clock: one process computes a missing value, the others wait for it. They save work and prove
 * nothing: a value is judged by its fence, whoever computed it.
 */
export interface LeaseStore {
  /**
   * Claim leases, all in one statement, which leaves no transaction open. A lease is free when it was released, its time is
   * over, something that its holder named was touched since the holder's fence, or the incarnation is another.
   */
  claim(claims: readonly LeaseClaim[]): Promise<ReadonlyMap<string, LeaseAnswer>>;
  /** Release leases; those that have other holders by now stay as they are. Returns how many were released. */
  release(tokens: readonly LeaseToken[]): Promise<number>;
}

/** Why a domain cannot be cached (a trigger is missing, say), or `null` where nothing is wrong. */
export type DomainReport = ReadonlyMap<string, string | null>;

/** Figures of a store, sizes in bytes. */
export interface StoreStats {
  readonly totalEntries: number;
  readonly expiredEntries: number;
  /** Values as JSON, keys, tags and proofs: what `maxTableBytes` limits. Unlike the table's size it shrinks at once. */
  readonly entryBytes?: number;
  readonly tableSizeBytes: number;
  readonly logSizeBytes: number;
  /** Mean milliseconds that writes take to cascade, where the database measures it. */
  readonly cascadeMs?: number;
}

/** What a purge has removed. */
export interface PurgeResult {
  /** Expired entries deleted; `null` where another process was at it. */
  readonly entries: number | null;
  /** Rows trimmed from the invalidation log; `null` where another process was at it. */
  readonly logRows: number | null;
  /** Live entries deleted to keep a limit of the table; missing where none is set. */
  readonly evicted?: number;
}

/**
 * Anything that can run a statement inside the caller's transaction: a `pg` client, or TypeORM's `QueryRunner` and
 * `EntityManager`.
 */
export interface Queryable {
  query(text: string, values?: any[]): Promise<unknown>;
}

/**
 * The tier behind the memory: where values live with their proofs, and where the truth about them is asked.
 * `nestjs-result-cache/testing` exports the contract suite that an implementation must pass.
 */
export interface CacheStore {
  /** Finds out what statements read, for `domains: 'infer'`; a store without it refuses that option. */
  readonly inferences?: StatementInference;
  /** Has one process compute for all, for `lease`; a store without it refuses that option. */
  readonly leases?: LeaseStore;
  /** Whether it turns callers away at present; a store that never does lacks it. */
  readonly breaker?: BreakerStatus;
  /**
   * What was touched since a fence, and the rows of some keys, seen in one snapshot. `null` when the store has lost
   * its incarnation; call {@link CacheStore.recover}, then ask again.
   */
  exchange(request: ExchangeRequest): Promise<ExchangeAnswer | null>;
  /**
   * Store values in one batch; of two values of a key the one with the newer fence stays. Returns the proofs of those
   * that were accepted, by key.
   * @throws RefusedValueError where a value of the batch cannot be held; none of the batch is stored then.
   */
  fill(fills: readonly Fill[]): Promise<ReadonlyMap<string, Proof>>;
  /** Renew the fences of rows that an exchange with `prove` returned. */
  refence(rows: readonly StoredRow[], fence: Fence): Promise<void>;
  /** Delete keys for good: copies in other processes and computations under way are void too. Returns how many were live. */
  delete(keys: readonly string[]): Promise<number>;
  /**
   * Make keys void with the commit of the caller's transaction; their rows may stay. Returns the transaction, which is
   * still open.
   */
  deleteWithin(keys: readonly string[], within: Queryable): Promise<number | null>;
  /** {@link delete} for the keys that begin with `prefix` and match the LIKE pattern. */
  deleteMatching(prefix: string, like: string): Promise<number>;
  /** The tags that dependencies are written as. */
  tagsOf(dependencies: Dependencies): Promise<readonly string[]>;
  /** Invalidate, in a transaction of its own or in the caller's. Returns the caller's transaction, which is still open. */
  invalidate(dependencies: Dependencies, within?: Queryable): Promise<number | null>;
  /** Which domains are tracked by triggers, and what is wrong with those that are not. */
  audit(): Promise<DomainReport>;
  /** Delete what has expired and trim the log. One process at a time. */
  purge(): Promise<PurgeResult>;
  /** Count entries and sizes, as the store has them now. */
  stats(): Promise<StoreStats>;
  /** Make the store usable again after it was reset or dropped. */
  recover(): Promise<void>;
}
