export { type CascadeGraph } from './cascade-graph.js';
export { type CascadeLogging } from './cascade-log.js';
export { type CascadeRule, type ConditionValue } from './cascade-rule.js';
export { CascadeService, type CascadeStats, type RegisterOptions } from './cascade.service.js';
export { createSync, type SyncedTable } from './create-sync.js';
export {
  mergeDomainGraphs,
  type ColumnLink,
  type DomainEdge,
  type DomainGraph,
  type EdgeEvidence,
} from './domain-graph.js';
export { type DomainOf, type DomainTable } from './domain-names.js';
export { fieldTags } from './field-tags.js';
export { graphToMermaid, graphToText } from './graph-rendering.js';
export { setupAutoCascadeRules, type AutoCascade, type AutoCascadeOptions } from './setup-auto-cascade-rules.js';
export { type CascadeTargetName } from './target.js';
