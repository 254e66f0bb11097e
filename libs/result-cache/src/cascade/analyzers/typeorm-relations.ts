import { type ColumnLink, type DomainEdge, type EdgeEvidence, type GraphPart } from '../domain-graph.js';
import { type DomainNames } from '../domain-names.js';

/** What is read of TypeORM's metadata, by shape: the package is not needed for it. */
export interface EntityMetadataLike {
  readonly name: string;
  readonly tablePath: string;
  readonly tableType: string;
  readonly relations: readonly RelationMetadataLike[];
}

interface JoinColumnLike {
  readonly databaseName: string;
  readonly referencedColumn?: { readonly databaseName: string } | undefined;
}

interface RelationMetadataLike {
  readonly propertyPath: string;
  readonly isManyToOne: boolean;
  readonly isOneToMany: boolean;
  readonly isOneToOneOwner: boolean;
  readonly isOneToOneNotOwner: boolean;
  readonly isManyToMany: boolean;
  readonly joinColumns: readonly JoinColumnLike[];
  readonly inverseEntityMetadata: EntityMetadataLike;
}

/** A `DataSource` that is initialized. */
export interface RelationSource {
  readonly entityMetadatas: readonly EntityMetadataLike[];
}

/** The edges that TypeORM's relations show: `Post.author` (many-to-one) is user → post, with its join columns. */
export function analyzeRelations({ entityMetadatas }: RelationSource, names: DomainNames): GraphPart {
  const edges: DomainEdge[] = [];
  const skipped = new Set<string>();
  const domainOf = ({ name, tablePath }: EntityMetadataLike): string | undefined => {
    const domain = names.of(name, 'typeorm', tablePath);
    if (domain === undefined) skipped.add(`${name}: its table ${tablePath} feeds no domain`);
    return domain;
  };
  for (const metadata of entityMetadatas) {
    if (metadata.tableType.includes('junction')) continue;
    for (const relation of metadata.relations) {
      const holder = domainOf(metadata);
      const other = domainOf(relation.inverseEntityMetadata);
      if (holder !== undefined && other !== undefined) edges.push(...edgesOf(metadata, relation, holder, other));
    }
  }
  return { edges, skipped: [...skipped] };
}

function edgesOf(
  { name, tablePath }: EntityMetadataLike,
  relation: RelationMetadataLike,
  holder: string,
  other: string,
): DomainEdge[] {
  const property = `${name}.${relation.propertyPath}`;
  const inverse = relation.inverseEntityMetadata.name;
  const evidence = (form: string, isHeld: boolean, path: EdgeEvidence['path']): EdgeEvidence => ({
    kind: 'typeorm',
    detail: `${property}: ${form} ${inverse}`,
    source: isHeld ? inverse : name,
    target: isHeld ? name : inverse,
    label: `relation: ${property}`,
    path,
  });
  const held = { source: other, target: holder };
  const holding = { source: holder, target: other };
  const side = { side: 'source', name: relation.propertyPath } as const;
  if (relation.isManyToOne || relation.isOneToOneOwner) {
    const form = relation.isManyToOne ? 'many-to-one' : 'one-to-one';
    const links = linksOf(relation, `${tablePath}.${relation.propertyPath}`);
    return [{ ...held, links, evidence: [evidence(form, true, links.length > 0 ? 'columns' : 'between')] }];
  }
  if (relation.isOneToMany || relation.isOneToOneNotOwner)
    return [
      { ...holding, links: [], evidence: [evidence(relation.isOneToMany ? 'one-to-many' : 'one-to-one', false, side)] },
    ];
  if (!relation.isManyToMany) return [];
  return [
    { ...held, links: [], evidence: [evidence('many-to-many', true, 'between')] },
    { ...holding, links: [], evidence: [evidence('many-to-many', false, 'between')] },
  ];
}

function linksOf({ joinColumns }: RelationMetadataLike, key: string): ColumnLink[] {
  const group = joinColumns.length > 1 ? { group: key } : {};
  const links = joinColumns.flatMap(({ databaseName, referencedColumn }) =>
    referencedColumn === undefined
      ? []
      : [{ sourceColumn: referencedColumn.databaseName, targetColumn: databaseName, ...group }],
  );
  return links.length === joinColumns.length ? links : [];
}
