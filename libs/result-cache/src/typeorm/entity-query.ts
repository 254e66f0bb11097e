import {
  type EntityMetadata,
  type FindManyOptions,
  type QueryRunner,
  type Repository,
  type SelectQueryBuilder,
} from 'typeorm';
import { isBare } from './bare-builder.js';
import { dataSourceOf, isReplicated } from './data-source-of.js';
import { builtFootprint, findFootprint } from './find-footprint.js';
import { type Footprint } from './footprint.js';
import { type RawRow } from './joined-rows.js';
import { copyOf } from './options-copy.js';
import { type Watching } from './watched-entities.js';

/** What is asked of a query. Each has its own entries. */
export type Kind = 'find' | 'findOne' | 'findAndCount' | 'count' | 'exists' | 'getRawMany';

/** Whether what it answers holds instances of entity classes. */
export const returnsEntities = (kind: Kind): boolean =>
  kind === 'find' || kind === 'findOne' || kind === 'findAndCount';

/** The parts of find options that the SQL of the query does not show in full. */
const SHAPE = ['select', 'order', 'relations', 'loadEagerRelations', 'loadRelationIds', 'withDeleted'] as const;

/** A query, ready to be run. */
export interface EntityQuery {
  readonly kind: Kind;
  readonly qb: SelectQueryBuilder<any>;
  /** Whether the builder is ours to change. */
  readonly isOwn: boolean;
  /** Whether it locks rows, which takes a read of its own. */
  readonly locks: boolean;
  /** What distinguishes it beside its SQL. */
  readonly shape: unknown;
  readonly sql: string;
  readonly parameters: unknown[];
  /** What it reads. Of find options each call makes a new one. */
  readonly footprintOf: (watching: Watching) => Footprint;
}

/** How a query builder answers what is asked of it. */
export const METHODS: Record<Kind, (qb: SelectQueryBuilder<any>) => Promise<unknown>> = {
  find: (qb) => qb.getMany(),
  findOne: (qb) => qb.getOne(),
  findAndCount: (qb) => qb.getManyAndCount(),
  count: (qb) => qb.getCount(),
  exists: (qb) => qb.getExists(),
  getRawMany: (qb) => qb.getRawMany(),
};

/** The query that find options stand for. */
export function foundQuery(kind: Kind, home: Repository<any>, options: FindManyOptions<any>): EntityQuery {
  const qb = home.createQueryBuilder(home.metadata.name);
  const why = isBare(qb, home) ? undefined : 'its repository adds something of its own to every query';
  const added = why === undefined ? undefined : shapeOf(qb);
  qb.setFindOptions(options);
  const shape = {
    ...Object.fromEntries(SHAPE.filter((key) => options[key] !== undefined).map((key) => [key, options[key]])),
    ...(added && { added }),
  };
  const [sql, parameters] = qb.getQueryAndParameters();
  const returnsRows = returnsEntities(kind);
  const footprintOf = (watching: Watching): Footprint => {
    const footprint = findFootprint(qb, options, parameters, watching, returnsRows);
    if (why !== undefined) footprint.opaque ??= why;
    return footprint;
  };
  const locks = options.lock !== undefined || options.transaction === true;
  return { kind, qb, isOwn: true, locks, shape, sql, parameters, footprintOf };
}

/**
 * The query of a builder, which stays as it is.
 * @param runner What to run it with; by default the builder's own.
 */
export function builtQuery(kind: Kind, given: SelectQueryBuilder<any>, runner: QueryRunner | undefined): EntityQuery {
  const footprint = builtFootprint(given);
  // A clone forgets relations that are loaded by queries of their own; such a query is not cached anyway.
  const qb = footprint.opaque === undefined ? given.clone() : given;
  if (qb !== given) qb.expressionMap.parameters = copyOf(qb.expressionMap.parameters);
  if (runner !== undefined) qb.setQueryRunner(runner);
  const { lockMode, useTransaction } = qb.expressionMap;
  const [sql, parameters] = qb.getQueryAndParameters();
  return {
    kind,
    qb,
    isOwn: qb !== given,
    locks: lockMode !== undefined || useTransaction,
    shape: { ...shapeOf(qb), built: true },
    sql,
    parameters,
    footprintOf: () => footprint,
  };
}

/** What of a builder its SQL does not show. */
function shapeOf({ expressionMap: map }: SelectQueryBuilder<any>): Record<string, unknown> {
  const joins = map.joinAttributes.map(({ alias, mapToProperty, isMappingMany, mapAsEntity }) => [
    alias.name,
    mapToProperty,
    isMappingMany,
    typeof mapAsEntity === 'function' ? mapAsEntity.name : mapAsEntity,
  ]);
  const ids = map.relationIdAttributes.map(({ relationName, mapToProperty, disableMixedMap }) => [
    relationName,
    mapToProperty,
    disableMixedMap,
  ]);
  const { options, withDeleted } = map;
  return { joins, ids, options, withDeleted };
}

/** Run the query, on the primary; `told` gets the rows that came back, where they can be seen. */
export async function runQuery<T>(
  { kind, qb, isOwn }: EntityQuery,
  told?: (raw: readonly RawRow[] | undefined) => unknown,
): Promise<T> {
  // TypeORM's own cache knows nothing of writes.
  if (isOwn) qb.cache(false);
  const source = dataSourceOf(qb);
  const queryRunner = runnerOf(qb);
  // A replica may be behind the fence, which comes from the primary.
  const runner = isReplicated(source) && queryRunner === undefined ? source.createQueryRunner('master') : undefined;
  if (runner !== undefined) qb.setQueryRunner(runner);
  try {
    const rows = told && tapped(qb);
    const value = (await METHODS[kind](qb)) as T;
    await told?.(rows?.());
    return value;
  } finally {
    await runner?.release();
  }
}

/** See the rows that a query's entities are made of. */
function tapped(qb: SelectQueryBuilder<any>): () => readonly RawRow[] | undefined {
  type Execute = (runner: QueryRunner) => Promise<{ raw: RawRow[]; entities: unknown[] }>;
  const target = qb as unknown as { executeEntitiesAndRawResults?: Execute };
  const execute = target.executeEntitiesAndRawResults;
  let raw: readonly RawRow[] | undefined;
  if (typeof execute === 'function')
    target.executeEntitiesAndRawResults = async (runner) => {
      const result = await execute.call(qb, runner);
      raw = result.raw;
      return result;
    };
  return () => raw;
}

/** The runner that a query builder was given, if it was. */
export function runnerOf(qb: SelectQueryBuilder<any>): QueryRunner | undefined {
  return (qb as unknown as { queryRunner?: QueryRunner }).queryRunner;
}

/** Every entity that occurs in the query. */
export function metadatasOf({ qb }: EntityQuery): EntityMetadata[] {
  return qb.expressionMap.aliases.filter(({ hasMetadata }) => hasMetadata).map(({ metadata }) => metadata);
}
