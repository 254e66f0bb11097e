export * from './cascade/index.js';
export * from './core/index.js';
export * from './decorators/index.js';
export * from './module/index.js';
export * from './postgres/index.js';
export * from './repository/index.js';
export * from './tenancy/index.js';
