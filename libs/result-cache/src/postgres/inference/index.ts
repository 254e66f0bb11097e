export { Inferences, type InferenceOptions, type TablesOfOptions } from './inferences.js';
export { observeQueries } from './observe.js';
export { type StatementReads, type TableRead } from './statement-reads.js';
