export { Inferences, type InferenceOptions, type TablesOfOptions } from './inferences.js';
export { LockAudit, lockAudit, type OpenedTable } from './lock-audit.js';
export { observeQueries, observeStatements, type PgClasses } from './observe.js';
export { type StatementReads, type TableRead } from './statement-reads.js';
