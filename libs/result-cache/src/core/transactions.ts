import { type Queryable } from './store.js';

/** A transaction of the caller's that is open here; `queryable` is how to take part in it, if that is known. */
export interface OpenTransaction {
  queryable: Queryable | undefined;
}

/** Looks whether a transaction is open around the running code, as libraries keep it in the async context. */
export type TransactionProbe = () => OpenTransaction | undefined;

/**
 * Inside a transaction of one's own, one sees what nobody else may see yet, and does not see what others commit
 * meanwhile: nothing read there may come from the cache or enter it.
 */
class Transactions {
  private readonly probes = new Set<TransactionProbe>();

  /** Ask this probe from now on; returns how to stop. */
  watch(probe: TransactionProbe): () => void {
    this.probes.add(probe);
    return () => this.probes.delete(probe);
  }

  /** The transaction open around this code, or that one of a call's arguments stands for. */
  open(args?: readonly unknown[]): OpenTransaction | undefined {
    if (args === undefined) return this.around();
    for (const argument of args) {
      const found = transactionOf(argument);
      if (found !== undefined) return found;
    }
    return this.around();
  }

  private around(): OpenTransaction | undefined {
    for (const probe of this.probes) {
      const found = probe();
      if (found !== undefined) return found;
    }
    return undefined;
  }
}

/** Knows which transactions are open: by those who watch the async context, and by what calls are handed. */
export const transactions = new Transactions();

/** What TypeORM's `EntityManager` and `QueryRunner` and a `pg` client show of a transaction; recognised by shape. */
interface Handle {
  query?: unknown;
  /** TypeORM's QueryRunner. */
  isTransactionActive?: unknown;
  /** Its connection; known once it has sent a statement. */
  databaseConnection?: Handle | null;
  /** TypeORM's EntityManager, inside a transaction. */
  queryRunner?: Handle | null;
  /** A `pg` client: `I`dle, in a `T`ransaction, or in one that has failed (`E`). */
  _txStatus?: unknown;
  getTransactionStatus?: unknown;
}

/** The open transaction that an object stands for, if it does. */
export function transactionOf(candidate: unknown): OpenTransaction | undefined {
  if (typeof candidate !== 'object' || candidate === null || typeof (candidate as Handle).query !== 'function')
    return undefined;
  const handle = candidate as Handle & Queryable;
  if (typeof handle.isTransactionActive === 'boolean') return isActive(handle) ? { queryable: handle } : undefined;
  if (typeof handle.queryRunner === 'object')
    return handle.queryRunner !== null && isActive(handle.queryRunner) ? { queryable: handle } : undefined;
  if (!('connectionParameters' in handle)) return undefined;
  // A client so old that it cannot tell is taken to be in a transaction: that is why one hands a client on.
  return statusOf(handle) === 'I' ? undefined : { queryable: handle };
}

/** A QueryRunner counts the transactions that it began; of `query('BEGIN')` only its connection knows. */
function isActive({ isTransactionActive, databaseConnection }: Handle): boolean {
  return isTransactionActive === true || (databaseConnection != null && 'TE'.includes(statusOf(databaseConnection)));
}

/** `-` where it cannot be told. */
function statusOf(client: Handle): string {
  const status =
    typeof client.getTransactionStatus === 'function'
      ? (client.getTransactionStatus as () => unknown)()
      : client._txStatus;
  return typeof status === 'string' && status !== '' ? status : '-';
}
