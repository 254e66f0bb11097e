import { linkGroups, type ColumnLink, type DomainEdge, type EdgeEvidence } from './domain-graph.js';
import { sameWord } from './domain-names.js';
import { anyRow, rowsBy } from './pattern.js';

/** What a write to an edge's source counts as a write to, and what kept it from being narrower. */
export interface EdgePatterns {
  readonly patterns: readonly string[];
  /** The evidence that no column accounts for; none where the patterns name columns. */
  readonly untraced: readonly EdgeEvidence[];
}

/**
 * `post:author_id:{id}` per key that links the two. Where anything that relates them is not accounted for by such a key (a
 * field of another name, a table between the two), other rows may be concerned, so it is `post:*`.
 */
export function forwardPatterns(edge: DomainEdge): EdgePatterns {
  return patterns(edge, edge.target, ({ sourceColumn, targetColumn }) =>
    rowsBy(edge.target, targetColumn, sourceColumn),
  );
}

/** The same from target to source: `user:id:{author_id}`. */
export function backwardPatterns(edge: DomainEdge): EdgePatterns {
  return patterns(edge, edge.source, ({ sourceColumn, targetColumn }) =>
    rowsBy(edge.source, sourceColumn, targetColumn),
  );
}

function patterns(edge: DomainEdge, domain: string, write: (link: ColumnLink) => string): EdgePatterns {
  const untraced = edge.evidence.filter((evidence) => !isTraced(evidence, edge));
  if (edge.links.length === 0 || untraced.length > 0) return { patterns: [anyRow(domain)], untraced };
  const written = linkGroups(edge.links).map((group) => write(mostTelling(group)));
  return { patterns: [...new Set(written)], untraced };
}

/** Of a composite key one column will do, which is more than the rows meant: not the tenant's, that both have by one name. */
function mostTelling(group: readonly ColumnLink[]): ColumnLink {
  return group.find(({ sourceColumn, targetColumn }) => sourceColumn !== targetColumn) ?? group.at(-1)!;
}

function isTraced({ kind, path, target }: EdgeEvidence, { links, evidence, target: domain }: DomainEdge): boolean {
  if (path === 'columns') return true;
  if (path === 'between' || links.length === 0) return false;
  // The other side of a relation, whose owner has the columns.
  if (kind === 'typeorm') return true;
  // The relation that the field is, or the column it is named after.
  const relation = evidence.some(
    (one) =>
      one.kind === 'typeorm' &&
      one.path !== 'between' &&
      one.label.endsWith(`.${path.name}`) &&
      (path.side === 'target' ? one.path === 'columns' : one.path !== 'columns'),
  );
  if (relation) return true;
  return path.side === 'target'
    ? links.some(({ targetColumn }) => sameWord(targetColumn.replace(/_?id$/i, ''), path.name))
    : [target, domain].some((name) => sameWord(name, path.name));
}
