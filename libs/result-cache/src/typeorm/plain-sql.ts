import { type Alias } from 'typeorm/query-builder/Alias.js';

/**
 * Functions that read nothing but their arguments. Any other may read tables, or what the connection holds.
 */
const FUNCTIONS = new Set(
  'lower upper coalesce nullif count sum min max avg length trim ltrim rtrim abs round floor ceil ceiling greatest least concat substring substr replace left right date_trunc extract bool_and bool_or array_agg string_agg'.split(
    ' ',
  ),
);
const KEYWORDS = new Set(
  'and or not in is null true false like ilike between asc desc nulls first last distinct as case when then else end similar to escape any all on'.split(
    ' ',
  ),
);
const TOKEN =
  /\s+|'(?:[^']|'')*'|::(?:int|integer|bigint|text|uuid|date|boolean|numeric|float8?)\b|:(?:\.\.\.)?\w[\w.]*|\d+(?:\.\d+)?|(?:"(?:[^"]|"")+"|[A-Za-z_]\w*)(?:\.(?:"(?:[^"]|"")+"|[A-Za-z_]\w*|\*))*|[<>=!]+|[-+*/%|,()]/y;

/**
 * Whether a piece of SQL reads nothing but columns of the query's own tables: no sub-select, no function that could hide
 * one. Anything not understood counts as reading more.
 */
export function isPlainSql(text: string, aliases: readonly Alias[]): boolean {
  if (text.includes('--') || text.includes('/*')) return false;
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < text.length) {
    const match = TOKEN.exec(text);
    if (match === null) return false;
    const [token] = match;
    if (!/^["A-Za-z_]/.test(token)) continue;
    if (/^\s*\(/.test(text.slice(TOKEN.lastIndex))) {
      const word = token.toLowerCase();
      if (
        !FUNCTIONS.has(word) &&
        !['in', 'and', 'or', 'not', 'any', 'all', 'on', 'when', 'then', 'else'].includes(word)
      )
        return false;
    } else if (
      !KEYWORDS.has(token.toLowerCase()) &&
      (token.toLowerCase() === ROLE || !isColumn(token.replaceAll('"', ''), aliases))
    )
      return false;
  }
  return true;
}

/** In SQL, without quotes, this is no table but the role of the connection. */
const ROLE = 'user';

/** `alias`, `alias.column`, or a column of some alias. `row.name` could be a call of the function `name` as well. */
function isColumn(path: string, aliases: readonly Alias[]): boolean {
  const [head, ...rest] = path.split('.');
  const alias = aliases.find(({ name }) => name === head);
  if (alias !== undefined) return rest.length === 0 || rest.join('.') === '*' || isPathOf(alias, rest.join('.'));
  return aliases.some((each) => isPathOf(each, path));
}

function isPathOf(alias: Alias, path: string): boolean {
  if (!alias.hasMetadata) return false;
  const { columns, relations } = alias.metadata;
  return (
    columns.some(({ propertyPath, databaseName }) => propertyPath === path || databaseName === path) ||
    relations.some(({ propertyPath }) => propertyPath === path)
  );
}
