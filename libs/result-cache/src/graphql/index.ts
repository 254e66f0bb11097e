export { OperationFenceMiddleware } from './operation-fence.middleware.js';
export { analyzeSchema, type SchemaLike } from './schema-analyzer.js';
