export { graphToMermaid, graphToText } from './cascade/graph-rendering.js';
export {
  mergeDomainGraphs,
  type ColumnLink,
  type DomainEdge,
  type DomainGraph,
  type EdgeEvidence,
} from './cascade/domain-graph.js';
export { type DomainOf, type DomainTable } from './cascade/domain-names.js';
export {
  setupAutoCascadeRules,
  type AutoCascade,
  type AutoCascadeOptions,
  type AutoCascadeRule,
  type CascadeRegistrar,
} from './cascade/setup-auto-cascade-rules.js';
export * from './cascade/index.js';
export * from './core/index.js';
export * from './decorators/index.js';
export * from './module/index.js';
export * from './postgres/index.js';
export * from './repository/index.js';
export * from './tenancy/index.js';
