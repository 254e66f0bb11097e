import { type DomainEdge, type DomainGraph } from './domain-graph.js';

/** A line of a tree, and what hangs on it. */
export interface Branch {
  readonly label: string;
  readonly branches?: readonly Branch[];
}

/** An arrow of a chart. */
export interface Arrow {
  readonly source: string;
  readonly target: string;
  readonly label: string;
}

/** Trees as text, with a blank line between them. */
export function drawTrees(roots: readonly Branch[]): string {
  return roots.map(({ label, branches = [] }) => [label, ...lines(branches, ' ')].join('\n')).join('\n\n');
}

function lines(branches: readonly Branch[], indent: string): string[] {
  return branches.flatMap(({ label, branches: under = [] }, index) => {
    const isLast = index === branches.length - 1;
    return [`${indent}${isLast ? '└' : '├'}─> ${label}`, ...lines(under, `${indent}${isLast ? ' ' : '│'}    `)];
  });
}

/** Arrows as a Mermaid flow chart. */
export function drawChart(arrows: readonly Arrow[]): string {
  const ids = new Map<string, string>();
  const text = (value: string): string => `"${value.replace(/[&"<>]/g, (sign) => `#${sign.charCodeAt(0)};`)}"`;
  const node = (name: string): string => {
    if (!ids.has(name)) ids.set(name, `n${ids.size}`);
    return `${ids.get(name)!}[${text(name)}]`;
  };
  return [
    'graph LR',
    ...arrows.map(({ source, target, label }) => `  ${node(source)} -->|${text(label)}| ${node(target)}`),
  ].join('\n');
}

/**
 * The graph as text, a block per source:
 *
 * ```
 * user
 *  ├─> comment (author_id)
 *  └─> post (author_id)
 * ```
 */
export function graphToText({ edges }: DomainGraph): string {
  return drawTrees(
    [...new Set(edges.map(({ source }) => source))].map((source) => ({
      label: source,
      branches: edges
        .filter((edge) => edge.source === source)
        .map((edge) => ({ label: `${edge.target} (${reasonOf(edge)})` })),
    })),
  );
}

/** The graph as a Mermaid flow chart. */
export function graphToMermaid({ edges }: DomainGraph): string {
  return drawChart(edges.map((edge) => ({ source: edge.source, target: edge.target, label: reasonOf(edge) })));
}

/** The columns that make the edge, or else the first thing that shows it. */
function reasonOf({ links, evidence }: DomainEdge): string {
  return links.length > 0
    ? [...new Set(links.map(({ targetColumn }) => targetColumn))].join(', ')
    : (evidence[0]?.label ?? 'declared');
}
