export { analyzeSchema, type SchemaLike } from './schema-analyzer.js';
