import { type Queryable } from '../../core/store.js';
import { NotInstalledError } from '../../postgres/installer.js';
import { statement } from '../../postgres/sql.js';
import { type DomainEdge, type GraphPart } from '../domain-graph.js';
import { type DomainNames, type DomainTable } from '../domain-names.js';

interface ForeignKey {
  name: string;
  target_table: string;
  source_table: string;
  target_domain: string | null;
  source_domain: string | null;
  target_columns: string[];
  source_columns: string[];
  between: boolean;
}

/** One side of a table that only connects others. */
interface Side {
  domain: string;
  table: string;
  column: string;
}

/** No such schema, no such function. */
const MISSING = new Set(['3F000', '42883']);

/** The watched tables, as the database knows them. @throws NotInstalledError where the cache is not. */
export async function watchedTables(connection: Queryable): Promise<DomainTable[]> {
  try {
    return rowsOf<DomainTable>(await connection.query(statement('watched-tables')));
  } catch (error) {
    if (!MISSING.has((error as { code?: string }).code ?? '')) throw error;
    throw new NotInstalledError(
      `setupAutoCascadeRules: the cache is not installed in this database, so no table is watched (${(error as Error).message}).`,
      ['-- as the owner of the tables: the script that `npx result-cache sql` prints (or installScript() returns)'],
      { cause: error },
    );
  }
}

/**
 * The edges that foreign keys show: `posts.author_id -> users.id` is user → post. A table that only connects others (its
 * primary key is made of its foreign keys) and feeds no domain itself connects each with each.
 * @throws the driver's error where the cache is not installed in that database.
 */
export async function analyzeForeignKeys(connection: Queryable, names: DomainNames): Promise<GraphPart> {
  const keys = rowsOf<ForeignKey>(await connection.query(statement('foreign-keys')));
  const edges: DomainEdge[] = [];
  const skipped = new Set<string>();
  const junctions = new Map<string, Side[]>();
  for (const key of keys) {
    const target = key.target_domain ?? names.of(key.target_table, 'foreign-key', key.target_table);
    const source = key.source_domain ?? names.of(key.source_table, 'foreign-key', key.source_table);
    if (source === undefined) {
      skipped.add(`${key.source_table}: it is no watched table`);
      continue;
    }
    if (target !== undefined) edges.push(edgeOf(key, source, target));
    else if (key.between) {
      const sides = junctions.get(key.target_table) ?? [];
      sides.push({ domain: source, table: key.source_table, column: key.target_columns.join(', ') });
      junctions.set(key.target_table, sides);
    } else skipped.add(`${key.target_table}: it is no watched table`);
  }
  for (const [table, sides] of junctions) edges.push(...across(table, sides));
  return { edges, skipped: [...skipped] };
}

function edgeOf(key: ForeignKey, source: string, target: string): DomainEdge {
  const columns = `${key.target_table}.${key.target_columns.join(', ')}`;
  const group = key.target_columns.length > 1 ? { group: key.name } : {};
  return {
    source,
    target,
    links: key.target_columns.map((targetColumn, index) => ({
      sourceColumn: key.source_columns[index]!,
      targetColumn,
      ...group,
    })),
    evidence: [
      {
        kind: 'foreign-key',
        detail: `${columns} -> ${key.source_table}.${key.source_columns.join(', ')}`,
        source: key.source_table,
        target: key.target_table,
        label: `foreign key: ${columns}`,
        path: 'columns',
      },
    ],
  };
}

/** Each side of a connecting table shows the others. */
function across(table: string, sides: readonly Side[]): DomainEdge[] {
  return sides.flatMap((source, index) =>
    sides.flatMap((target, other): DomainEdge[] =>
      index === other
        ? []
        : [
            {
              source: source.domain,
              target: target.domain,
              links: [],
              evidence: [
                {
                  kind: 'foreign-key',
                  detail: `${table} (${source.column}, ${target.column})`,
                  source: source.table,
                  target: target.table,
                  label: `table between: ${table}`,
                  path: 'between',
                },
              ],
            },
          ],
    ),
  );
}

/** `pg` gives a result with rows, TypeORM the rows themselves. */
function rowsOf<T>(result: unknown): T[] {
  return Array.isArray(result) ? (result as T[]) : (result as { rows: T[] }).rows;
}
