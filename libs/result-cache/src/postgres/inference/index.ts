export { Inferences, type InferenceOptions, type TablesOfOptions } from './inferences.js';
export { observeQueries, observeStatements, type PgClasses } from './observe.js';
export { type StatementReads, type TableRead } from './statement-reads.js';
