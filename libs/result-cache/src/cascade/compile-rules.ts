import { CacheConfigurationError, shown } from '../core/errors.js';
import { jsonText } from '../core/json.js';
import { checkKeys } from '../core/option-keys.js';
import { type CascadeCatalogue, type CascadeDetail, type CatalogueDomain } from '../postgres/cascade-store.js';
import { type CascadeRule } from './cascade-rule.js';
import { list, parsePattern } from './pattern.js';

/** The names of all options of a rule. */
export const RULE_KEYS = ['source', 'cascadeTo', 'condition', 'columns', 'maxDepth', 'name'];
const MOST_DEPTH = 1_000;

/**
 * Turn rules into what the database holds, one row per pattern.
 * @param only The name that all of them must have.
 * @throws CacheConfigurationError for what is wrong with a rule, and says what there is instead.
 */
export function compileRules(
  rules: readonly CascadeRule[],
  catalogue: CascadeCatalogue,
  only?: string,
): CascadeDetail[] {
  if (!Array.isArray(rules))
    throw new CacheConfigurationError(
      "cascade: rules are a list: register([{ source: 'user', cascadeTo: ['post:author:{id}'] }])",
    );
  const details = rules.flatMap((rule, index) => compile(rule, catalogue, `cascade: rules[${index}]`));
  const stranger = only === undefined ? undefined : details.find(({ name }) => name !== only);
  if (stranger !== undefined)
    throw new CacheConfigurationError(
      `cascade: replace: '${only}' takes rules of that name only, and '${stranger.source}' → '${stranger.pattern}' has ${stranger.name === '' ? 'none' : `the name '${stranger.name}'`}; write name: '${only}'`,
    );
  const seen = new Map<string, string>();
  for (const detail of details) {
    const key = JSON.stringify([detail.name, detail.source, detail.pattern]);
    const text = jsonText(detail);
    if (seen.has(key) && seen.get(key) !== text)
      throw new CacheConfigurationError(
        `cascade: '${detail.source}' cascades to '${detail.pattern}' twice in different ways; make it one rule, or give them different names: name: 'drafts'`,
      );
    seen.set(key, text);
  }
  return details.filter(
    (detail, index) =>
      details.findIndex(
        ({ name, source, pattern }) => name === detail.name && source === detail.source && pattern === detail.pattern,
      ) === index,
  );
}

function compile(rule: CascadeRule, catalogue: CascadeCatalogue, place: string): CascadeDetail[] {
  if (typeof rule !== 'object' || rule === null)
    throw new CacheConfigurationError(`${place} is no rule; write { source: 'user', cascadeTo: ['post:author:{id}'] }`);
  checkKeys(rule, RULE_KEYS, place);
  const { source: name, cascadeTo, columns, maxDepth, name: label = '' } = rule;
  if (typeof name !== 'string' || name === '')
    throw new CacheConfigurationError(`${place}: source is no domain's name; write source: 'user'`);
  const where = `${place} (source '${name}')`;
  const source = catalogue.get(name);
  if (source === undefined)
    throw new CacheConfigurationError(
      `${where}: no watched table feeds this domain; there are ${list([...catalogue.keys()])}`,
    );
  if (
    !Array.isArray(cascadeTo) ||
    cascadeTo.length === 0 ||
    !cascadeTo.every((to) => typeof to === 'string' && to !== '')
  )
    throw new CacheConfigurationError(
      `${where}: cascadeTo is no list of patterns; write cascadeTo: ['post:author:{id}']`,
    );
  if (typeof label !== 'string')
    throw new CacheConfigurationError(`${where}: name is no text; write name: 'drafts', or leave it out`);
  if (maxDepth !== undefined && !(Number.isInteger(maxDepth) && maxDepth >= 1 && maxDepth <= MOST_DEPTH))
    throw new CacheConfigurationError(
      `${where}: maxDepth ${shown(maxDepth)} is no number of levels; write 1 for direct targets only, or leave it out`,
    );
  checkColumns(columns, source, where);
  return (cascadeTo as readonly string[]).map((pattern) => ({
    name: label,
    source: name,
    pattern,
    ...parsePattern(pattern, source, catalogue, where),
    condition: checkCondition(rule.condition, source, where),
    columns: columns === undefined ? null : [...new Set(columns)].sort(),
    max_depth: maxDepth ?? null,
  }));
}

function checkColumns(columns: unknown, source: CatalogueDomain, where: string): void {
  if (columns === undefined) return;
  if (!Array.isArray(columns) || columns.length === 0)
    throw new CacheConfigurationError(`${where}: columns is no list; write columns: ['email'], or leave it out`);
  for (const column of columns as unknown[]) refuseUnknown(String(column), source, where, 'columns');
}

function checkCondition(condition: unknown, source: CatalogueDomain, where: string): CascadeDetail['condition'] {
  if (condition === undefined || condition === null) return null;
  const remedy = 'write condition: { published: true }';
  if (typeof condition === 'function')
    throw new CacheConfigurationError(
      `${where}: condition is a function, which the database's triggers cannot call; compare columns with values instead: ${remedy}`,
    );
  if (typeof condition !== 'object' || Array.isArray(condition) || Object.keys(condition).length === 0)
    throw new CacheConfigurationError(`${where}: condition compares columns with values; ${remedy}`);
  for (const [column, value] of Object.entries(condition)) {
    refuseUnknown(column, source, where, 'condition');
    const kind = source.columns[column];
    if (kind == null)
      throw new CacheConfigurationError(
        `${where}: condition.${column}: a condition can compare boolean, integer, uuid, text and enum columns only; there are ${list(Object.keys(source.columns).filter((name) => source.columns[name] !== null))}`,
      );
    const values: unknown[] = Array.isArray(value) ? value : [value];
    if (values.length === 0)
      throw new CacheConfigurationError(`${where}: condition.${column} lists no value, so nothing would ever cascade`);
    for (const one of values)
      if (!isOfKind(one, kind))
        throw new CacheConfigurationError(
          `${where}: condition.${column}: ${typeof one === 'function' ? 'a function' : shown(one)} is no value of a column of kind ${kind}; ${remedy}`,
        );
  }
  return condition as Record<string, unknown>;
}

function isOfKind(value: unknown, kind: string): boolean {
  if (value === null) return true;
  switch (kind) {
    case 'boolean':
      return typeof value === 'boolean';
    case 'integer':
      return (
        typeof value === 'bigint' ||
        Number.isSafeInteger(value) ||
        (typeof value === 'string' && /^[-+]?\d{1,18}$/.test(value))
      );
    case 'uuid':
      return typeof value === 'string' && /^[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}$/i.test(value);
    default:
      return typeof value === 'string';
  }
}

function refuseUnknown(column: string, source: CatalogueDomain, where: string, option: string): void {
  if (!Object.hasOwn(source.columns, column))
    throw new CacheConfigurationError(
      `${where}: ${option} names the column '${column}', which the source has not got; it has ${list(Object.keys(source.columns))}`,
    );
}
