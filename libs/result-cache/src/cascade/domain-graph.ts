/** A column of the source and the column of the target that refers to it: `user.id` and `post.author_id`. */
export interface ColumnLink {
  readonly sourceColumn: string;
  readonly targetColumn: string;
  /** Links with the same text here are one composite key. */
  readonly group?: string;
}

/** Where a relationship was seen. */
export interface EdgeEvidence {
  readonly kind: 'graphql' | 'typeorm' | 'foreign-key';
  /** As its author wrote it: `Post.author: User!`, `posts.author_id -> users.id`. */
  readonly detail: string;
  /** What source and target are called there, `User` and `Post`. */
  readonly source: string;
  readonly target: string;
  /** `field: posts`, `relation: Post.author`, `foreign key: posts.author_id`. */
  readonly label: string;
  /**
   * How it can be traced to columns: it names them itself (`'columns'`), it goes through rows of a table between the two
   * (`'between'`), or it is a field of the source (a list of targets) or of the target (its one source).
   */
  readonly path: 'columns' | 'between' | { readonly side: 'source' | 'target'; readonly name: string };
}

/** A write to `source` may change what is shown with `target`: a post refers to its author, so user → post. */
export interface DomainEdge {
  readonly source: string;
  readonly target: string;
  readonly links: readonly ColumnLink[];
  readonly evidence: readonly EdgeEvidence[];
}

/** Which domains depend on which. */
export interface DomainGraph {
  readonly edges: readonly DomainEdge[];
}

/** What one analyzer found, and what it passed over, with the reason. */
export interface GraphPart extends DomainGraph {
  readonly skipped: readonly string[];
}

/** One graph of several: an edge per pair of domains, in the order of their names, with all its links and evidence. */
export function mergeDomainGraphs(...parts: readonly DomainGraph[]): DomainGraph {
  const edges = new Map<string, { source: string; target: string; links: ColumnLink[]; evidence: EdgeEvidence[] }>();
  for (const { source, target, links, evidence } of parts.flatMap((part) => part.edges)) {
    const pair = JSON.stringify([source, target]);
    let edge = edges.get(pair);
    if (edge === undefined) edges.set(pair, (edge = { source, target, links: [], evidence: [] }));
    // The same link may be told by a relation and by its foreign key, which name a composite key differently.
    addGroups(edge.links, links);
    for (const one of evidence)
      if (!edge.evidence.some(({ kind, detail }) => kind === one.kind && detail === one.detail))
        edge.evidence.push(one);
  }
  return { edges: [...edges.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, edge]) => edge) };
}

/** Links by key: each simple one by itself, those of a composite key together. */
export function linkGroups(links: readonly ColumnLink[]): ColumnLink[][] {
  const groups = new Map<string, ColumnLink[]>();
  for (const [index, link] of links.entries()) {
    const name = link.group === undefined ? `${index}` : `group ${link.group}`;
    groups.set(name, [...(groups.get(name) ?? []), link]);
  }
  return [...groups.values()];
}

function addGroups(known: ColumnLink[], more: readonly ColumnLink[]): void {
  const text = (group: readonly ColumnLink[]): string =>
    JSON.stringify(group.map(({ sourceColumn, targetColumn }) => [sourceColumn, targetColumn]).sort());
  const seen = new Set(linkGroups(known).map(text));
  for (const group of linkGroups(more)) {
    if (seen.has(text(group))) continue;
    seen.add(text(group));
    known.push(...group);
  }
}
