import { type TextRows } from '../connection.js';
import { readsElsewhere } from './builtin-functions.js';
import { narrowing, type NarrowableTable, type Narrowing } from './narrowing.js';

/** A table, or materialized view, that a statement reads. */
export interface TableRead {
  /** Quoted where SQL needs it, with its schema: `public.users`. Of a partition or inheritance child, its root's. */
  readonly name: string;
  /** What its writes make void: of watched tables one, of a root whose children were watched apart several. */
  readonly domains: readonly string[];
  /** Whether all writes to it are noticed, as far as `watch` was called. */
  readonly isWatched: boolean;
}

/** What one statement reads. */
export interface StatementReads {
  readonly tables: readonly TableRead[];
  /** Domains that functions without a readable body declare. */
  readonly declared: readonly string[];
  /** Why nobody can tell, naming the culprit; `null` where `tables` and `declared` are all. */
  readonly unknown: string | null;
  /** The first table that is not watched, and what to write; `null` where all are. */
  readonly unwatched: string | null;
  /** Which rows of the tables are read, by the statement's parameters; `null` where any row may matter. */
  readonly narrowing: Narrowing | null;
}

/** Nobody can tell what a statement reads. */
export function unknownReads(unknown: string): StatementReads {
  return { tables: [], declared: [], unknown, unwatched: null, narrowing: null };
}

/** One row of `fraiseql_cache.reads_of`. */
interface Found {
  class: string;
  oid: string;
  name: string;
  kind: string;
  isTemporary: boolean;
  isBuiltin: boolean;
  isImmutable: boolean;
  language: string;
  isParsed: boolean;
  writes: boolean;
  locks: boolean;
  root: string;
  domains: readonly string[] | null;
  isUnwatched: boolean;
  suggestion: string;
}

/** The columns that {@link readsFrom} takes, in this order. */
export const READS_QUERY = `SELECT class, oid, name, kind, persistence = 't', builtin, volatility = 'i', language, parsed, writes, locks,
  root, array_to_json(domains), unwatched, suggestion FROM fraiseql_cache.reads_of($1::oid, $2::oid[]) ORDER BY name`;

/** The parse tree, and of its tables what tells their rows apart; no row where it is not all that is read. */
export const NARROWABLE_QUERY = 'SELECT tree, tables FROM fraiseql_cache.narrowable($1::oid)';

/**
 * What the objects behind a statement add up to. `declared`: domains of functions, by oid. `narrowable`: the answer of
 * {@link NARROWABLE_QUERY}.
 */
export function readsFrom(
  rows: TextRows,
  declared: ReadonlyMap<string, readonly string[]>,
  narrowable: TextRows,
): StatementReads {
  const found = rows.map(parse);
  const unknown = found.map((one) => whyUnknown(one, declared, found)).find((why) => why !== null) ?? null;
  if (unknown !== null) return unknownReads(unknown);
  const tables = new Map<string, TableRead>();
  let unwatched: string | null = null;
  for (const { class: kind, kind: relkind, root, domains, isUnwatched, suggestion } of found) {
    if (kind !== 'relation' || !['r', 'p', 'm'].includes(relkind)) continue;
    const before = tables.get(root);
    tables.set(root, {
      name: root,
      domains: [...new Set([...(before?.domains ?? []), ...(domains ?? [])])],
      isWatched: (before?.isWatched ?? true) && !isUnwatched,
    });
    if (isUnwatched) unwatched ??= sayUnwatched(root, relkind, suggestion);
  }
  const functions = found.filter(({ class: kind }) => kind === 'function');
  return {
    tables: [...tables.values()],
    declared: [...new Set(functions.flatMap(({ oid, domains }) => [...(declared.get(oid) ?? []), ...(domains ?? [])]))],
    unknown: null,
    unwatched,
    narrowing: narrowingOf(found, declared, narrowable),
  };
}

/** Only where the statement's own tree is all that there is: built-in functions, and tables that occur in it. */
function narrowingOf(
  found: readonly Found[],
  declared: ReadonlyMap<string, readonly string[]>,
  [row]: TextRows,
): Narrowing | null {
  const [tree, tables] = row ?? [];
  if (tree == null || tables == null) return null;
  const known = new Map(Object.entries(JSON.parse(tables) as Record<string, NarrowableTable>));
  const isInTree = ({ class: kind, oid, isBuiltin, domains }: Found): boolean =>
    kind === 'function' ? isBuiltin && !declared.has(oid) && domains === null : kind !== 'relation' || known.has(oid);
  return found.every(isInTree) ? narrowing(tree, known) : null;
}

function parse(row: (string | null)[]): Found {
  const [kind, oid, name, type, temporary, builtin, immutable, language, parsed, writes, locks, root] = row as string[];
  const [domains, unwatched, suggestion] = row.slice(12);
  return {
    class: kind!,
    oid: oid!,
    name: name!,
    kind: type!,
    isTemporary: temporary === 't',
    isBuiltin: builtin === 't',
    isImmutable: immutable === 't',
    language: language!,
    isParsed: parsed === 't',
    writes: writes === 't',
    locks: locks === 't',
    root: root!,
    domains: domains == null ? null : (JSON.parse(domains) as string[]),
    isUnwatched: unwatched === 't',
    suggestion: suggestion ?? '',
  };
}

function whyUnknown(
  one: Found,
  declared: ReadonlyMap<string, readonly string[]>,
  all: readonly Found[],
): string | null {
  if (one.class === 'relation') return whyUnknownRelation(one);
  if (one.class === 'statement') {
    if (one.writes) return 'a statement of it writes: do that outside of what is cached';
    return one.locks
      ? 'a statement of it locks rows (FOR UPDATE or FOR SHARE): do that outside of what is cached'
      : null;
  }
  return whyUnknownFunction(one, declared, all);
}

function whyUnknownRelation({ name, kind, isTemporary, isBuiltin }: Found): string | null {
  const cannot = 'whose changes no trigger sees: read it outside of what is cached';
  if (isBuiltin) return `it reads the system catalogue ${name}, ${cannot}`;
  if (isTemporary) return `it reads ${name}, a temporary table (or one with such a child), ${cannot}`;
  if (kind === 'S') return `it reads the sequence ${name}, ${cannot}`;
  if (kind === 'f') return `it reads ${name}, a foreign table (or one with such a partition), ${cannot}`;
  return null;
}

function whyUnknownFunction(
  { oid, name, kind, isBuiltin, isImmutable, language, isParsed, writes, locks, domains }: Found,
  declared: ReadonlyMap<string, readonly string[]>,
  all: readonly Found[],
): string | null {
  const short = name.replace(/\(.*$/s, '').replaceAll('"', '');
  if (declared.has(oid) || domains !== null) return null;
  if (isBuiltin) {
    if (short === 'set_config' && all.some((other) => other.class === 'relation'))
      return 'a statement of it changes a setting and reads a table at once: call set_config in a statement of its own';
    return isImmutable || kind === 'a' || !readsElsewhere(short)
      ? null
      : `it calls ${name}, which reads what no trigger sees: call it outside of what is cached`;
  }
  if (isParsed) {
    if (writes || locks)
      return `it calls ${name}, which ${writes ? 'writes' : 'locks rows'}: call it outside of what is cached`;
    return null;
  }
  if (isImmutable || kind === 'a') return null;
  return `it calls ${name}, and nobody can tell what a function in ${language} without a parsed body reads: say it with inference: { functions: { ${JSON.stringify(name)}: ['user'] } } or COMMENT ON FUNCTION ${name} IS '@cache-domains user' (none: [] or '@cache-domains'), or write it as SQL with BEGIN ATOMIC`;
}

function sayUnwatched(name: string, kind: string, suggestion: string): string {
  if (kind === 'm')
    return `it reads the materialized view ${name}, whose REFRESH no trigger sees: name a domain or tag of your own and invalidate it with the refresh`;
  return `it reads ${name}, which is not watched (or a partition of it is not): add { table: ${JSON.stringify(name)}, domain: ${JSON.stringify(suggestion)} } to watch, as watch: [{ table: ${JSON.stringify(name)}, domain: ${JSON.stringify(suggestion)} }]`;
}
