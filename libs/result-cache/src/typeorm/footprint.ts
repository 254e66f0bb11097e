import { type EntityMetadata } from 'typeorm';
import { type JoinAttribute } from 'typeorm/query-builder/JoinAttribute.js';
import { type QueryExpressionMap } from 'typeorm/query-builder/QueryExpressionMap.js';
import { type RowValues } from '../core/dependencies.js';
import { type WatchedRelation } from '../postgres/watched-table.js';
import { type Equalities } from './where-equalities.js';

/** What a query reads, as far as it is known beforehand. */
export interface Footprint {
  /** Tables of which any row may matter. */
  whole: Set<EntityMetadata>;
  /** Rows of others. */
  rows: [EntityMetadata, RowValues][];
  /** Joins whose rows are known only when the query has been run. */
  open: JoinAttribute[];
  /** How many rows the main table was asked for by primary key; `undefined` where it was asked otherwise. */
  asked?: number;
  /** Why the metadata do not account for all that is read. */
  opaque?: string;
}

/** More tags than this for one table are not worth it. */
const MOST_VALUES = 50;

export function emptyFootprint(): Footprint {
  return { whole: new Set(), rows: [], open: [] };
}

/**
 * The rows that equalities narrow a table down to, by the best group of columns that are tags. A write to rows that have
 * none of these values, neither before nor after it, changes neither which rows meet the condition nor what they hold.
 */
export function narrow(
  equalities: Equalities,
  metadata: EntityMetadata,
  { tagColumns, tenantColumn }: WatchedRelation,
): { rows: RowValues[]; isKey: boolean } | undefined {
  const key = names(metadata.primaryColumns.map(({ databaseName }) => databaseName));
  const candidates = tagColumns
    .filter((group) => group.every((column) => equalities.has(column)))
    .map((group) => ({
      group,
      isKey: names(group) === key,
      isTenant: group.length === 1 && group[0] === tenantColumn,
      size: group.reduce((product, column) => product * equalities.get(column)!.length, 1),
    }))
    .filter(({ size }) => size <= MOST_VALUES)
    .sort(
      (a, b) =>
        Number(b.isKey) - Number(a.isKey) ||
        Number(a.isTenant) - Number(b.isTenant) ||
        b.group.length - a.group.length ||
        a.size - b.size,
    );
  const [best] = candidates;
  if (best === undefined) return undefined;
  let rows: RowValues[] = [{}];
  for (const column of best.group)
    rows = rows.flatMap((row) => [...new Set(equalities.get(column))].map((value) => ({ ...row, [column]: value })));
  return { rows, isKey: best.isKey };
}

function names(columns: readonly string[]): string {
  return JSON.stringify([...columns].sort());
}

/**
 * What TypeORM reads beside the query itself: ids of relations, and, where the strategy is `query`, relations with a
 * statement of their own.
 */
export function addSideReads(
  footprint: Footprint,
  map: QueryExpressionMap,
  relations: unknown,
  loadsEagerRelations: boolean,
): void {
  const metadatas = map.aliases.filter(({ hasMetadata }) => hasMetadata).map(({ metadata }) => metadata);
  for (const { relation, queryBuilderFactory } of map.relationIdAttributes) {
    if (queryBuilderFactory !== undefined) footprint.opaque ??= 'ids of a relation are loaded by a query of their own';
    addRelated(footprint, relation);
  }
  if (map.relationLoadStrategy === 'query' && map.mainAlias?.hasMetadata) {
    addLoaded(footprint, map.mainAlias.metadata, relations, loadsEagerRelations, new Set());
    for (const metadata of footprint.whole) metadatas.push(metadata);
  }
  for (const metadata of metadatas) {
    if (metadata.tableType === 'view') footprint.opaque ??= `${metadata.name} is a view`;
    if (metadata.columns.some(({ isVirtualProperty, query }) => isVirtualProperty && query !== undefined))
      footprint.opaque ??= `${metadata.name} has a @VirtualColumn`;
    for (const { relation, queryBuilderFactory } of metadata.relationIds) {
      if (queryBuilderFactory !== undefined)
        footprint.opaque ??= `a @RelationId of ${metadata.name} has a query of its own`;
      addRelated(footprint, relation);
    }
  }
}

function addRelated(footprint: Footprint, relation: EntityMetadata['relations'][number]): void {
  footprint.whole.add(relation.inverseEntityMetadata);
  if (relation.junctionEntityMetadata) footprint.whole.add(relation.junctionEntityMetadata);
}

function addLoaded(
  footprint: Footprint,
  metadata: EntityMetadata,
  relations: unknown,
  eager: boolean,
  path: Set<EntityMetadata>,
): void {
  for (const relation of metadata.relations) {
    const asked = valueAt(relations, relation.propertyPath);
    const isAsked = asked === true || (typeof asked === 'object' && asked !== null);
    if (!isAsked && !(eager && relation.isEager)) continue;
    addRelated(footprint, relation);
    const next = relation.inverseEntityMetadata;
    // Eager relations can go round in circles; what was asked for ends by itself.
    if (isAsked || !path.has(next)) addLoaded(footprint, next, asked, eager, new Set([...path, metadata]));
  }
}

function valueAt(object: unknown, path: string): unknown {
  return path
    .split('.')
    .reduce<unknown>((value, key) => (value as Record<string, unknown> | undefined | null)?.[key], object);
}
