export { type ConnectionOptions, type DataSourceLike } from './connection.js';
export { installScript, NotInstalledError } from './installer.js';
export {
  PostgresCache,
  StoreUnavailableError,
  type Availability,
  type PostgresCacheOptions,
} from './postgres-cache.js';
export { type WatchedTable } from './watched-table.js';
