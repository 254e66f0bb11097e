import { type EntityMetadata } from 'typeorm';
import { type ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';
import { type RelationMetadata } from 'typeorm/metadata/RelationMetadata.js';
import { type JoinAttribute } from 'typeorm/query-builder/JoinAttribute.js';
import { isOperator, type Operator } from './options-copy.js';
import { compareExactly, type Watching } from './watched-entities.js';

/** Columns, by their name in the database, that have one of these values in every row that can be part of the result. */
export type Equalities = Map<string, readonly string[]>;

/** What the `where` of find options says about the tables of its query. */
export interface WhereReading {
  /** Of the main table, for each alternative of an OR. */
  alternatives: Equalities[];
  /** Of joined tables, by alias. */
  joined: Map<string, Equalities>;
  /** Joined tables that decide which rows are found. */
  filtered: Set<string>;
  /** Tables that are read by sub-selects of TypeORM's own. */
  counted: EntityMetadata[];
  /** It holds SQL that the metadata do not account for. */
  isOpaque: boolean;
}

/** Operators that read their column and their parameters, and nothing else. */
const KNOWN = new Set(
  'not lessThan lessThanOrEqual moreThan moreThanOrEqual equal between in any isNull ilike like arrayContains arrayContainedBy arrayOverlap jsonContains and or'.split(
    ' ',
  ),
);
const COUNTING = new Set(['moreThan', 'lessThan', 'moreThanOrEqual', 'lessThanOrEqual']);

/**
 * Read a `where` as TypeORM's `SelectQueryBuilder.buildWhere` turns it into SQL: properties are joined by AND, the
 * alternatives of a list by OR. Call it when the query has been built: by then values are transformed.
 *
 * @param joins The joins of the query.
 * @param parameters The values the query is sent with. What is not among them was not compared with.
 */
export function readWhere(
  where: unknown,
  metadata: EntityMetadata,
  alias: string,
  joins: readonly JoinAttribute[],
  parameters: readonly unknown[],
  watching: Watching,
): WhereReading {
  const reading: WhereReading = {
    alternatives: [],
    joined: new Map(),
    filtered: new Set(),
    counted: [],
    isOpaque: false,
  };
  const reader = new WhereReader(reading, joins, parameters, watching);
  const list: unknown[] = Array.isArray(where) ? where : [where ?? {}];
  for (const alternative of list) reading.alternatives.push(reader.read(alternative, metadata, alias));
  // Joins are common to all alternatives: what one of them says of a joined row, the others do not.
  if (list.length !== 1) {
    for (const joined of reading.joined.keys()) reading.filtered.add(joined);
    reading.joined.clear();
  }
  return reading;
}

class WhereReader {
  constructor(
    private readonly reading: WhereReading,
    private readonly joins: readonly JoinAttribute[],
    private readonly parameters: readonly unknown[],
    private readonly watching: Watching,
  ) {}

  read(
    where: unknown,
    metadata: EntityMetadata,
    alias: string,
    prefix = '',
    found: Equalities = new Map(),
  ): Equalities {
    if (typeof where !== 'object' || where === null) return found;
    if (Array.isArray(where)) {
      // An OR below the top: nothing holds for all rows.
      this.reading.filtered.add(alias);
      for (const each of where) this.read(each, metadata, alias, prefix);
      return found;
    }
    for (const [key, value] of Object.entries(where)) {
      if (value === undefined) continue;
      const path = prefix === '' ? key : `${prefix}.${key}`;
      const column = metadata.findColumnWithPropertyPathStrict(path);
      const relation = metadata.findRelationWithPropertyPath(path);
      if (column !== undefined) this.column(column, value, alias, found);
      else if (metadata.findEmbeddedWithPropertyPath(path) !== undefined)
        this.read(value, metadata, alias, path, found);
      else if (relation !== undefined) this.relation(relation, value, alias, found);
    }
    return found;
  }

  private column(column: ColumnMetadata, value: unknown, alias: string, found: Equalities): void {
    this.reading.filtered.add(alias);
    const values = this.equalTo(column, value);
    if (values !== undefined && !found.has(column.databaseName)) found.set(column.databaseName, values);
  }

  private relation(relation: RelationMetadata, value: unknown, alias: string, found: Equalities): void {
    if (isOperator(value)) {
      this.reading.filtered.add(alias);
      this.checkOperator(value);
      if (COUNTING.has(value.type))
        this.reading.counted.push(relation.junctionEntityMetadata ?? relation.inverseEntityMetadata);
      return;
    }
    if (typeof value !== 'object' || value === null) return;
    const joins = this.joins.filter((join) => join.parentAlias === alias && join.relation === relation);
    if (joins.length > 1) this.reading.isOpaque = true;
    const [join] = joins;
    // No join is made for what has no condition.
    if (join === undefined) return;
    const { name } = join.alias;
    // Whether it is there decides, whatever is asked of it.
    this.reading.filtered.add(name);
    const joined = this.read(value, relation.inverseEntityMetadata, name);
    if (this.reading.joined.has(name)) this.reading.isOpaque = true;
    this.reading.joined.set(name, joined);
    // `post.author_id = author.id` is what joins them, so `author.id = 3` says `post.author_id = 3` as well.
    if (!relation.isManyToOne && !relation.isOneToOneOwner) return;
    for (const column of relation.joinColumns) {
      const { databaseName, referencedColumn } = column;
      if (!compareExactly(this.watching, column)) continue;
      const values = referencedColumn && joined.get(referencedColumn.databaseName);
      if (values !== undefined && !found.has(databaseName)) found.set(databaseName, values);
    }
  }

  /** The values that the column has one of; `undefined` where the condition is no such thing. */
  private equalTo(column: ColumnMetadata, value: unknown): readonly string[] | undefined {
    let values: unknown[];
    if (isOperator(value)) {
      this.checkOperator(value);
      if (value.child !== undefined) return undefined;
      if (value.type === 'equal') values = [transformed(column, value.value)];
      else if (value.type === 'in' && Array.isArray(value.value)) values = value.value as unknown[];
      else return undefined;
    } else values = [transformed(column, value)];
    const isComparable = (each: unknown): boolean =>
      ['string', 'number', 'bigint'].includes(typeof each) && this.parameters.includes(each);
    return values.length > 0 && values.every(isComparable) ? values.map(String) : undefined;
  }

  private checkOperator(operator: Operator): void {
    if (!KNOWN.has(operator.type)) this.reading.isOpaque = true;
    if (operator.child !== undefined) this.checkOperator(operator.child);
    if (Array.isArray(operator.value))
      for (const each of operator.value as unknown[]) if (isOperator(each)) this.checkOperator(each);
  }
}

function transformed({ transformer }: ColumnMetadata, value: unknown): unknown {
  if (transformer === undefined) return value;
  return [transformer].flat().reduce<unknown>((each, { to }) => to(each) as unknown, value);
}
