export * from './core/index.js';
export * from './postgres/index.js';
