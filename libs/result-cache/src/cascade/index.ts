export { type CascadeGraph } from './cascade-graph.js';
export { type CascadeLogging } from './cascade-log.js';
export { type CascadeRule, type ConditionValue } from './cascade-rule.js';
export { CascadeService, type CascadeStats } from './cascade.service.js';
export { createSync, type SyncedTable } from './create-sync.js';
export { fieldTags } from './field-tags.js';
export { type CascadeTargetName } from './target.js';
