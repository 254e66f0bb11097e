export { analyzeSchema, type SchemaLike } from '../cascade/analyzers/graphql-schema.js';
export { OperationFenceMiddleware } from './operation-fence.middleware.js';
