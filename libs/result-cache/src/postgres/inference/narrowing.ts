import { nodesIn, parseTree, type TreeNode } from './node-tree.js';

/** A table whose rows can be told apart, by the number of its column, and what its writes are called. */
export interface NarrowableTable {
  readonly domain: string;
  /** Columns that are tags, best first. */
  readonly columns: readonly (readonly [attribute: string, name: string])[];
}

/** Of a domain only rows with the value of a parameter (from 1) are read. */
export interface ParameterRows {
  readonly domain: string;
  readonly column: string;
  readonly parameter: number;
}

/** How a statement's tables are read. */
export interface Narrowing {
  /** Domains of which any row may matter. */
  readonly whole: readonly string[];
  readonly rows: readonly ParameterRows[];
}

/** `=` of int2, int4, int8, text and uuid: of those alone it is known that it compares what tags are made of. */
const EQUALS = new Set(['94', '96', '410', '98', '2972']);
/** None, the database's own, C and POSIX: none of these takes two texts for equal. */
const EXACT_COLLATIONS = new Set(['0', '100', '950', '951']);
const VARCHAR = '1043';
const TEXT = '25';
const INNER = '0';
const LEFT = '1';

/**
 * Which rows of its tables a statement reads, as far as equalities with its parameters tell.
 *
 * A table is narrowed in one query level only by conditions that every row of that level's result has met: those that WHERE and the
 * ON of inner joins connect by AND. `posts.tenant_id = users.tenant_id AND users.tenant_id = $1` says it of both. What is
 * on the right of a LEFT JOIN is narrowed by that join's own ON as well: a row that does not meet it is joined to
 * nothing. A row without the value is then in no row of the level's result, and changes none by being there or not, so
 * neither it nor a write to it matters, whatever is grouped, sorted or cut off afterwards. Every level (sub-select, CTE,
 * part of a UNION) and every occurrence of a table answers for itself; one that cannot makes the whole domain count.
 *
 * @param tree The body of a function that consists of the statement, as `pg_node_tree`.
 * @param tables By oid: those that the tree mentions. Others must not occur.
 * @returns `null` where the tree holds anything that is not known for certain: then all is read whole.
 */
export function narrowing(tree: string, tables: ReadonlyMap<string, NarrowableTable>): Narrowing | null {
  try {
    const whole = new Set<string>();
    const rows = new Map<string, ParameterRows>();
    const seen = new Set<NarrowableTable>();
    for (const query of nodesIn(parseTree(tree), 'QUERY')) {
      const level = new Level(query);
      for (const [index, entry] of level.tables()) {
        const table = tables.get(entry.word('relid') ?? '');
        if (table === undefined) return null;
        seen.add(table);
        const found = level.narrow(index, entry, table);
        if (found === undefined) whole.add(table.domain);
        else rows.set(JSON.stringify(found), found);
      }
    }
    // One that is mentioned and in no level is read where this does not look.
    return seen.size === tables.size ? { whole: [...whole], rows: [...rows.values()] } : null;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

/** Two things that are equal: columns (`1.2`), parameters (`$1`). */
type Equality = readonly [string, string];

/** One query level. */
class Level {
  private readonly entries: readonly TreeNode[];
  /** Met by every row of the result. */
  private readonly met: Equality[] = [];
  /** By the table's place in the level: what a row of it has to meet beside those. Others cannot be narrowed. */
  private readonly own = new Map<number, readonly Equality[]>();

  constructor(query: TreeNode) {
    this.entries = query.nodes('rtable') ?? [];
    const from = query.node('jointree');
    if (query.word('commandType') !== '1' || from?.type !== 'FROMEXPR') return;
    this.met.push(...equalities(from.node('quals')));
    for (const item of from.nodes('fromlist') ?? []) this.visit(item);
  }

  /** Those that are tables, or views, by their place in the level. */
  *tables(): Generator<[number, TreeNode]> {
    for (const [index, entry] of this.entries.entries()) {
      const kind = entry.word('rtekind');
      if (kind === undefined) throw new SyntaxError('an entry without a kind');
      if (kind === '0') yield [index + 1, entry];
    }
  }

  narrow(index: number, entry: TreeNode, { domain, columns }: NarrowableTable): ParameterRows | undefined {
    const own = this.own.get(index);
    // A sample is drawn from all rows.
    if (own === undefined || entry.word('tablesample') !== '<>') return undefined;
    const groups = classes([...this.met, ...own]);
    for (const [attribute, column] of columns)
      for (const each of groups.get(`${index}.${attribute}`) ?? [])
        if (each.startsWith('$')) return { domain, column, parameter: Number(each.slice(1)) };
    return undefined;
  }

  /** What is here is part of every row of the result. */
  private visit(item: TreeNode): void {
    if (item.type === 'RANGETBLREF') this.own.set(Number(item.word('rtindex')), []);
    if (item.type !== 'JOINEXPR') return;
    const [left, right, type] = [item.node('larg'), item.node('rarg'), item.word('jointype')];
    if (left === undefined || right === undefined) return;
    const on = equalities(item.node('quals'));
    if (type === INNER) {
      this.met.push(...on);
      this.visit(left);
      this.visit(right);
    } else if (type === LEFT) {
      this.visit(left);
      if (right.type === 'RANGETBLREF') this.own.set(Number(right.word('rtindex')), on);
    }
  }
}

/** The equalities that a condition consists of, as far as AND connects them. */
function equalities(condition: TreeNode | undefined): Equality[] {
  if (condition === undefined) return [];
  if (condition.type === 'BOOLEXPR' && condition.word('boolop') === 'and')
    return (condition.nodes('args') ?? []).flatMap(equalities);
  if (condition.type !== 'OPEXPR' || !EQUALS.has(condition.word('opno') ?? '')) return [];
  if (!EXACT_COLLATIONS.has(condition.word('inputcollid') ?? '')) return [];
  const sides = (condition.nodes('args') ?? []).map(termOf);
  const [a, b] = sides;
  return sides.length === 2 && a !== undefined && b !== undefined ? [[a, b]] : [];
}

function termOf(node: TreeNode): string | undefined {
  if (node.type === 'PARAM' && node.word('paramkind') === '0') return `$${node.word('paramid')}`;
  if (node.type === 'VAR' && node.word('varlevelsup') === '0') return `${node.word('varno')}.${node.word('varattno')}`;
  // A varchar is compared as the text that it is.
  const inner = node.type === 'RELABELTYPE' && node.word('resulttype') === TEXT ? node.node('arg') : undefined;
  return inner?.type === 'VAR' && inner.word('vartype') === VARCHAR ? termOf(inner) : undefined;
}

/** What each of them is equal to, itself included. */
function classes(pairs: readonly Equality[]): ReadonlyMap<string, ReadonlySet<string>> {
  const groups = new Map<string, Set<string>>();
  for (const [a, b] of pairs) {
    const united = new Set([...(groups.get(a) ?? [a]), ...(groups.get(b) ?? [b])]);
    for (const each of united) groups.set(each, united);
  }
  return groups;
}
