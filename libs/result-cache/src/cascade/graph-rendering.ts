import { type DomainEdge, type DomainGraph } from './domain-graph.js';

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
  const sources = [...new Set(edges.map(({ source }) => source))];
  return sources
    .map((source) => {
      const own = edges.filter((edge) => edge.source === source);
      return [
        source,
        ...own.map((edge, index) => ` ${index === own.length - 1 ? '└' : '├'}─> ${edge.target} (${reasonOf(edge)})`),
      ].join('\n');
    })
    .join('\n\n');
}

/** The graph as a Mermaid flowchart. */
export function graphToMermaid({ edges }: DomainGraph): string {
  const domains = [...new Set(edges.flatMap(({ source, target }) => [source, target]))];
  const text = (value: string): string => `"${value.replace(/[&"<>]/g, (sign) => `#${sign.charCodeAt(0)};`)}"`;
  return [
    'graph LR',
    ...domains.map((domain, index) => `  d${index}[${text(domain)}]`),
    ...edges.map(
      (edge) => `  d${domains.indexOf(edge.source)} -->|${text(reasonOf(edge))}| d${domains.indexOf(edge.target)}`,
    ),
  ].join('\n');
}

/** The columns that make the edge, or else the first thing that shows it. */
function reasonOf({ links, evidence }: DomainEdge): string {
  return links.length > 0
    ? [...new Set(links.map(({ targetColumn }) => targetColumn))].join(', ')
    : (evidence[0]?.label ?? 'declared');
}
