import { type EntityMetadata } from 'typeorm';
import { type ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';
import { type RowValues } from '../core/dependencies.js';
import { type Footprint } from './footprint.js';
import { compareExactly, type Watching } from './watched-entities.js';

/** A row as the driver returned it: columns are named `<alias>_<column>`. */
export type RawRow = Readonly<Record<string, unknown>>;

/** More rows than this of one table are not listed. */
const MOST_ROWS = 100;

/** What the joins read, learned from what came back. */
export interface JoinedRows {
  whole: Set<EntityMetadata>;
  rows: [EntityMetadata, RowValues][];
}

/** Something could not be told from the rows. */
const UNKNOWN = Symbol('unknown');

/**
 * The rows that joined tables contributed, or could contribute.
 *
 * These joins decide neither which rows of the main table are found nor their order (see `findFootprint`), so the rows on
 * their left side are those in the result, and what they join to is told by the columns that join them:
 * - to one (`author.id = post.author_id`): only a row with this id can be, or become, the author of a post shown. The id is
 *   taken from the post, so an author who is missing (deleted softly, say) counts as well. NULL joins nothing.
 * - to many (`comment.post_id = post.id`): only rows with the id of a post shown, also where there is none yet.
 * - many to many: rows of the junction table with the id of a post shown, and the tags that these lead to. Where a post
 *   has no tag, or a row of the junction table leads nowhere, the two look the same, so any tag may matter.
 */
export function joinedRows(footprint: Footprint, raw: readonly RawRow[], main: string, watching: Watching): JoinedRows {
  const found: JoinedRows = { whole: new Set(), rows: [] };
  const isComplete = footprint.asked !== undefined && footprint.asked === countOf(footprint, raw, main);
  const valuesOf: typeof read = (row, alias, columns, from, to, ifNull) =>
    columns.every((column) => compareExactly(watching, column)) ? read(row, alias, columns, from, to, ifNull) : UNKNOWN;
  for (const join of footprint.open) {
    const relation = join.relation!;
    const junction = relation.junctionEntityMetadata;
    // An INNER JOIN drops a row of the main table whose other side is missing. Only if none was dropped all are seen.
    if (join.direction === 'INNER' && !isComplete) {
      found.whole.add(relation.inverseEntityMetadata);
      if (junction) found.whole.add(junction);
      continue;
    }
    if (junction) {
      const { isOwning, inverseRelation } = relation;
      const left = isOwning ? relation.joinColumns : inverseRelation!.inverseJoinColumns;
      const right = isOwning ? relation.inverseJoinColumns : inverseRelation!.joinColumns;
      collect(found, junction, raw, (row) => valuesOf(row, join.parentAlias!, left, 'referenced', 'own', 'skip'));
      collect(found, relation.inverseEntityMetadata, raw, (row) => {
        const isThere = valuesOf(row, join.parentAlias!, left, 'referenced', 'own', 'skip');
        return typeof isThere === 'object'
          ? valuesOf(row, join.alias.name, right, 'referenced', 'referenced', UNKNOWN)
          : isThere;
      });
    } else if (relation.isManyToOne || relation.isOneToOneOwner) {
      collect(found, relation.inverseEntityMetadata, raw, (row) =>
        valuesOf(row, join.parentAlias!, relation.joinColumns, 'own', 'referenced', 'skip'),
      );
    } else {
      const columns = relation.inverseRelation?.joinColumns ?? [];
      collect(found, relation.inverseEntityMetadata, raw, (row) =>
        valuesOf(row, join.parentAlias!, columns, 'referenced', 'own', 'skip'),
      );
    }
  }
  return found;
}

type Side = 'own' | 'referenced';
type Absent = 'skip' | typeof UNKNOWN;

function collect(
  found: JoinedRows,
  metadata: EntityMetadata,
  raw: readonly RawRow[],
  read: (row: RawRow) => RowValues | 'skip' | typeof UNKNOWN,
): void {
  const rows = new Map<string, RowValues>();
  for (const row of raw) {
    const values = read(row);
    if (values === 'skip') continue;
    if (values !== UNKNOWN) rows.set(JSON.stringify(values), values);
    if (values === UNKNOWN || rows.size > MOST_ROWS) {
      found.whole.add(metadata);
      return;
    }
  }
  for (const values of rows.values()) found.rows.push([metadata, values]);
}

/**
 * The columns that join, read from one side of the join and named as on the other. `ifNull`: what it means where one is NULL.
 */
function read(
  row: RawRow,
  alias: string,
  columns: readonly ColumnMetadata[],
  from: Side,
  to: Side,
  ifNull: Absent,
): RowValues | 'skip' | typeof UNKNOWN {
  const values: Record<string, string> = {};
  if (columns.length === 0) return UNKNOWN;
  for (const column of columns) {
    const source = from === 'own' ? column : column.referencedColumn;
    const target = to === 'own' ? column : column.referencedColumn;
    if (source === undefined || target === undefined) return UNKNOWN;
    const name = `${alias}_${source.databaseName}`;
    // Not selected, or under a shortened name.
    if (!Object.hasOwn(row, name)) return UNKNOWN;
    const value = row[name];
    if (value === null) return ifNull;
    // A number that lost digits on its way from the driver would name another row.
    if (
      typeof value === 'number' ? !Number.isSafeInteger(value) : typeof value !== 'string' && typeof value !== 'bigint'
    )
      return UNKNOWN;
    values[target.databaseName] = `${value as string | number | bigint}`;
  }
  return values;
}

/** How many rows of the main table came back; `undefined` where that cannot be told. */
function countOf({ open }: Footprint, raw: readonly RawRow[], main: string): number | undefined {
  const metadata = open.find(({ parentAlias }) => parentAlias === main)?.relation?.entityMetadata;
  if (metadata === undefined) return undefined;
  const keys = new Set<string>();
  for (const row of raw) {
    const values = metadata.primaryColumns.map(({ databaseName }) => row[`${main}_${databaseName}`]);
    if (values.some((value) => value === undefined || value === null)) return undefined;
    keys.add(values.map(String).join('\0'));
  }
  return keys.size;
}
