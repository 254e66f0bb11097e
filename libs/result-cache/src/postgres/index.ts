export { type ConnectionOptions, type DataSourceLike } from './connection.js';
export { installScript, type InstallScriptOptions } from './install-script.js';
export { NotInstalledError } from './installer.js';
export { PostgresCache, type PostgresCacheOptions } from './postgres-cache.js';
export { StoreUnavailableError, type Availability } from './readiness.js';
export { type WatchedTable } from './watched-table.js';
