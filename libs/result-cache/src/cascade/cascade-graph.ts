import { type CascadeDetail, type CascadeTarget } from '../postgres/cascade-store.js';
import { drawChart, drawTrees, type Branch } from './graph-rendering.js';

/** Where writes lead by the rules. */
export interface CascadeGraph {
  /** As a tree of text, with how many cached entries a write would make void now. */
  readonly text: string;
  /** As a Mermaid flow chart. */
  readonly mermaid: string;
}

/** One write whose cascades are shown. */
export interface GraphRoot {
  readonly domain: string;
  /** As the tree names it: `user:123`. */
  readonly name: string;
  readonly reached: readonly CascadeTarget[];
}

/** Draw rules from these roots. */
export function drawGraph(roots: readonly GraphRoot[], rules: readonly CascadeDetail[]): CascadeGraph {
  const shown = new Set(roots.flatMap((root) => [root.domain, ...root.reached.map(({ target }) => target ?? '')]));
  const arrows = rules
    .filter(({ source }) => shown.has(source))
    .map((rule) => {
      const root = roots.find(({ domain }) => domain === rule.source);
      const label = root === undefined ? rule.pattern : `${rule.pattern}: ${amount(countOf(root, rule))}`;
      return { source: rule.source, target: rule.target ?? rule.pattern, label };
    });
  const trees = roots.map((root) => ({
    label: root.name,
    branches: branches(root, root.domain, rules, [root.domain], Infinity),
  }));
  return { text: drawTrees(trees), mermaid: drawChart(arrows) };
}

function branches(
  root: GraphRoot,
  domain: string,
  rules: readonly CascadeDetail[],
  path: readonly string[],
  left: number,
): Branch[] {
  // A write does not come back to where it began, but by a rule of its own domain; and no level is drawn twice on a path.
  const here = rules.filter(
    ({ source, target }) =>
      source === domain &&
      left > 0 &&
      (target === null ? path.length === 1 : !path.includes(target) || (path.length === 1 && target === domain)),
  );
  return here.map((rule) => {
    const label = `${rule.pattern} (${amount(countOf(root, rule))})`;
    if (rule.target === null || path.includes(rule.target)) return { label };
    const rest = Math.min(left, rule.max_depth ?? Infinity) - 1;
    return { label, branches: branches(root, rule.target, rules, [...path, rule.target], rest) };
  });
}

function countOf(root: GraphRoot, rule: CascadeDetail): number {
  return root.reached.find(({ target }) => target === rule.target)?.entries ?? 0;
}

const amount = (entries: number): string => `${entries} ${entries === 1 ? 'entry' : 'entries'}`;
