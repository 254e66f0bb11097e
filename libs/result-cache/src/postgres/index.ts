export {
  type CascadeCatalogue,
  type CascadeDetail,
  type CascadeFilter,
  CascadeStore,
  type CatalogueDomain,
} from './cascade-store.js';
export { type ConnectionOptions, type DataSourceLike } from './connection.js';
export {
  Inferences,
  observeQueries,
  type InferenceOptions,
  type StatementReads,
  type TableRead,
  type TablesOfOptions,
} from './inference/index.js';
export { installScript, type InstallScriptOptions } from './install-script.js';
export { NotInstalledError } from './installer.js';
export { PostgresCache } from './postgres-cache.js';
export { type PostgresCacheOptions, type RowLevelSecurity } from './postgres-cache-options.js';
export { StoreUnavailableError, type Availability } from './readiness.js';
export { type WatchedTable } from './watched-table.js';
