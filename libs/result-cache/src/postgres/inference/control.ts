/** Statements that read no table. One that may hold another statement is not among them. */
export const CONTROL =
  /^\s*(BEGIN|START\s+TRANSACTION|COMMIT|END|ROLLBACK|ABORT|SAVEPOINT|RELEASE|SET|RESET)\b[^;]*;?\s*$/i;

/** Those among them that have the transaction see what another one saw. */
export const SNAPSHOT = /^\s*SET\s+TRANSACTION\s+SNAPSHOT\b/i;

/** Those among them that open a transaction. */
export const BEGINS = /^\s*(BEGIN|START)\b/i;
