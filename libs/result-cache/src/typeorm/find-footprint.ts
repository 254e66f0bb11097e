import { type EntityMetadata, type SelectQueryBuilder } from 'typeorm';
import { type JoinAttribute } from 'typeorm/query-builder/JoinAttribute.js';
import { addSideReads, emptyFootprint, narrow, type Footprint } from './footprint.js';
import { isPlainSql } from './plain-sql.js';
import { type Watching } from './watched-entities.js';
import { readWhere, type WhereReading } from './where-equalities.js';

/** The find options that say what is read beside the query's own SQL. */
export interface FindShape {
  where?: unknown;
  relations?: unknown;
  loadEagerRelations?: boolean;
}

/**
 * What a query made from find options reads. Call it when the options have been applied.
 *
 * For each table in turn it is asked which of its rows could change the result; every occurrence (a self relation has two)
 * answers for itself.
 * - The main table: the rows that meet the equalities of `where`, for all alternatives. Without such, any.
 * - A joined table that `where` compares by equality: the rows that meet it. Others are filtered out whatever they hold.
 * - A joined table that decides in another way which rows are found, or in what order: any row.
 * - A joined table that only adds to what is found: the rows that are joined to it, known when it has been read.
 *
 * @param returnsRows Whether the raw rows of the result will be seen. A count shows none.
 */
export function findFootprint(
  qb: SelectQueryBuilder<any>,
  options: FindShape,
  parameters: readonly unknown[],
  watching: Watching,
  returnsRows: boolean,
): Footprint {
  const map = qb.expressionMap;
  const footprint = emptyFootprint();
  const { name: main, metadata } = map.mainAlias!;
  const reading = readWhere(options.where, metadata, main, map.joinAttributes, parameters, watching);
  if (reading.isOpaque) footprint.opaque = 'its where holds SQL of its own';
  for (const counted of reading.counted) footprint.whole.add(counted);
  addMain(footprint, metadata, reading, watching);

  const deciding = decidingAliases(map.joinAttributes, reading, Object.keys(map.allOrderBys), main);
  for (const join of map.joinAttributes) {
    const { relation } = join;
    if (relation === undefined) {
      footprint.opaque = 'it joins a table without a relation';
      continue;
    }
    const junction = relation.junctionEntityMetadata;
    const joined = relation.inverseEntityMetadata;
    const watched = watching(joined);
    const equalities = reading.joined.get(join.alias.name);
    const narrowed = equalities && watched && narrow(equalities, joined, watched);
    if (narrowed !== undefined) {
      footprint.rows.push(...narrowed.rows.map((row): [EntityMetadata, typeof row] => [joined, row]));
      if (junction) footprint.whole.add(junction);
    } else if (!returnsRows || !join.isSelected || deciding.has(join.alias.name)) {
      footprint.whole.add(joined);
      if (junction) footprint.whole.add(junction);
    } else footprint.open.push(join);
  }
  addSideReads(footprint, map, options.relations, options.loadEagerRelations !== false);
  return footprint;
}

function addMain(
  footprint: Footprint,
  metadata: EntityMetadata,
  { alternatives }: WhereReading,
  watching: Watching,
): void {
  const watched = watching(metadata);
  const narrowed = alternatives.map((equalities) => watched && narrow(equalities, metadata, watched));
  // One alternative that could be met by any row makes it any row.
  if (narrowed.length === 0 || narrowed.includes(undefined)) {
    footprint.whole.add(metadata);
    return;
  }
  for (const each of narrowed)
    footprint.rows.push(...each!.rows.map((row): [EntityMetadata, typeof row] => [metadata, row]));
  if (narrowed.length === 1 && narrowed[0]!.isKey) footprint.asked = narrowed[0]!.rows.length;
}

/**
 * The joined tables whose rows decide which rows are found, or in which order: those that `where` or `order` name, those
 * on the way to them, and those that an INNER JOIN behind a LEFT JOIN can drop.
 */
function decidingAliases(
  joins: readonly JoinAttribute[],
  { filtered }: WhereReading,
  orders: readonly string[],
  main: string,
): Set<string> {
  const deciding = new Set<string>();
  const add = (alias: string | undefined): void => {
    for (let name = alias; name !== undefined && name !== main && !deciding.has(name);) {
      deciding.add(name);
      name = joins.find((join) => join.alias.name === name)?.parentAlias;
    }
  };
  for (const alias of filtered) add(alias);
  for (const order of orders) {
    const [alias, ...path] = order.split('.');
    // What is no `alias.property` could be anything.
    if (path.length === 0) for (const join of joins) add(join.alias.name);
    else add(alias);
  }
  for (const join of joins) {
    if (join.direction !== 'INNER') continue;
    for (let parent = join.parentAlias; parent !== undefined && parent !== main;) {
      const above = joins.find((each) => each.alias.name === parent);
      if (above?.direction === 'LEFT') add(join.alias.name);
      parent = above?.parentAlias;
    }
  }
  return deciding;
}

/** What a query built by hand reads: any row of each of its tables, if these are all that it can read. */
export function builtFootprint(qb: SelectQueryBuilder<any>): Footprint {
  const map = qb.expressionMap;
  const footprint = emptyFootprint();
  if (map.commonTableExpressions.length > 0) footprint.opaque ??= 'it has a common table expression';
  if (map.aliases.length === 0) footprint.opaque ??= 'it reads from no table';
  for (const alias of map.aliases) {
    if (alias.hasMetadata) footprint.whole.add(alias.metadata);
    else footprint.opaque ??= alias.subQuery ? 'it has a sub-select' : 'it reads a table that is no entity';
  }
  for (const text of texts(qb))
    if (!isPlainSql(text, map.aliases) && !map.selects.some(({ aliasName }) => aliasName === text))
      footprint.opaque ??= 'it holds SQL that could read more than the tables of its entities';
  // Relations that are loaded by statements of their own are known to the builder alone.
  const { relationMetadatas = [] } = qb as unknown as { relationMetadatas?: unknown[] };
  if (map.relationLoadStrategy === 'query' && relationMetadatas.length > 0)
    footprint.opaque ??= 'its relations are loaded by queries of their own';
  addSideReads(footprint, map, undefined, false);
  return footprint;
}

/** Every piece of SQL that somebody wrote into the query. */
function texts({ expressionMap: map }: SelectQueryBuilder<any>): string[] {
  return [
    ...map.selects.map(({ selection }) => selection),
    ...strings(map.wheres.map(({ condition }) => condition)),
    ...map.havings.map(({ condition }) => condition),
    ...map.groupBys,
    ...Object.keys(map.orderBys),
    ...map.selectDistinctOn,
    ...map.joinAttributes.map(({ condition }) => condition ?? ''),
    map.extraAppendedAndWhereCondition,
  ];
}

function strings(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  if (typeof value === 'function') return ['a function'];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, each]) => (key === 'operator' || key === 'type' ? [] : strings(each)));
}
