import { type Repository, type SelectQueryBuilder } from 'typeorm';

/** What a builder holds beside its expression map. */
interface Inside {
  queryRunner?: unknown;
  conditions?: string;
  selects?: unknown[];
  joins?: unknown[];
  orderBys?: unknown[];
  relationMetadatas?: unknown[];
}

/**
 * Whether a repository's new query builder asks for nothing by itself. Applications override `createQueryBuilder`, to add the
 * tenant of the request, say: then find options are not all that decides what is read.
 */
export function isBare(qb: SelectQueryBuilder<any>, { metadata, manager, target }: Repository<any>): boolean {
  const map = qb.expressionMap;
  const inside = qb as unknown as Inside;
  const [main, ...others] = map.aliases;
  const [selected, ...more] = map.selects;
  const isEmpty = (list: readonly unknown[] | undefined): boolean => list === undefined || list.length === 0;
  return (
    main !== undefined &&
    main === map.mainAlias &&
    main.hasMetadata &&
    (main.metadata === metadata || main.target === target) &&
    selected?.selection === main.name &&
    selected.aliasName === undefined &&
    [others, more, map.wheres, map.havings, map.groupBys, map.joinAttributes, map.relationIdAttributes].every(
      isEmpty,
    ) &&
    [map.commonTableExpressions, map.selectDistinctOn, map.options].every(isEmpty) &&
    [inside.selects, inside.joins, inside.orderBys, inside.relationMetadatas].every(isEmpty) &&
    [map.limit, map.offset, map.take, map.skip, map.lockMode].every((each) => each === undefined) &&
    Object.keys(map.orderBys).length === 0 &&
    Object.keys(map.parameters).length === 0 &&
    !map.selectDistinct &&
    !map.withDeleted &&
    !map.useTransaction &&
    map.extraAppendedAndWhereCondition === '' &&
    (inside.conditions ?? '') === '' &&
    inside.queryRunner === manager.queryRunner
  );
}
