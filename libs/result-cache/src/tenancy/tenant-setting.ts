import { CacheConfigurationError } from '../core/errors.js';
import { isObject } from './tenant-request.js';

/** Anything that runs SQL on the one connection of an open transaction: a `pg` client, a TypeORM QueryRunner or EntityManager. */
export interface TransactionHandle {
  query(sql: string, parameters?: any[]): Promise<unknown>;
}

const REMEDY =
  'The setting lasts until the transaction ends, so without one it would silently do nothing and row-level security would see no tenant. ' +
  'Pass the client you sent BEGIN on, a QueryRunner after startTransaction(), or the EntityManager of dataSource.transaction().';

/**
 * Sets a PostgreSQL setting for the rest of a transaction.
 *
 * @throws CacheConfigurationError if `handle` is not inside a transaction.
 */
export async function setForTransaction(handle: TransactionHandle, setting: string, value: string): Promise<void> {
  const { connection, inTransaction } = inspect(handle);
  if (inTransaction === false) throw new CacheConfigurationError(`No transaction is open here. ${REMEDY}`);
  await connection.query('SELECT set_config($1, $2, true)', [setting, value]);
  if (inTransaction) return;
  // This client does not tell (an older `pg`): outside a transaction the setting is gone by the next statement.
  const result = await connection.query('SELECT current_setting($1, true) AS value', [setting]);
  const rows = (isObject(result) && 'rows' in result ? result['rows'] : result) as { value: string | null }[];
  if (rows[0]?.value !== value) throw new CacheConfigurationError(`No transaction is open here. ${REMEDY}`);
}

interface Inspected {
  connection: TransactionHandle;
  /** `undefined` if it cannot be told without asking the server. */
  inTransaction: boolean | undefined;
}

/** By shape, not by class: this package depends on neither `pg` nor TypeORM being installed, nor on there being one copy of them. */
function inspect(handle: TransactionHandle): Inspected {
  const shape = handle as TransactionHandle & {
    queryRunner?: TransactionHandle;
    isTransactionActive?: boolean;
    transaction?: unknown;
    totalCount?: number;
    getTransactionStatus?: () => string | null;
  };
  if (shape.queryRunner) return inspect(shape.queryRunner);
  if (typeof shape.isTransactionActive === 'boolean') {
    return { connection: handle, inTransaction: shape.isTransactionActive };
  }
  // A DataSource or an EntityManager outside its transaction, and a pool: each statement may take another connection.
  if (typeof shape.transaction === 'function' || typeof shape.totalCount === 'number') {
    return { connection: handle, inTransaction: false };
  }
  const status = shape.getTransactionStatus?.() ?? undefined;
  return { connection: handle, inTransaction: status === undefined ? undefined : status !== 'I' };
}
