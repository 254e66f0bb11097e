import { Logger } from '@nestjs/common';
import { CacheConfigurationError } from '../core/errors.js';
import { type Queryable } from '../core/store.js';
import { analyzeForeignKeys, watchedTables } from './analyzers/foreign-keys.js';
import { type SchemaLike } from './analyzers/graphql-schema.js';
import { analyzeRelations, type RelationSource } from './analyzers/typeorm-relations.js';
import { type CascadeRule } from './cascade-rule.js';
import { type CascadeService } from './cascade.service.js';
import { mergeDomainGraphs, type DomainEdge, type DomainGraph, type GraphPart } from './domain-graph.js';
import { DomainNames, type DomainOf, type DomainTable } from './domain-names.js';
import { anyRow } from './pattern.js';
import { backwardPatterns, forwardPatterns, type EdgePatterns } from './rule-patterns.js';

/** Where to look for relationships, and what to make of them. */
export interface AutoCascadeOptions {
  /** A `GraphQLSchema` or SDL text. */
  schema?: SchemaLike | string;
  /** An initialized TypeORM `DataSource`: its relations, and the connection that foreign keys are read with. */
  dataSource?: RelationSource & Queryable;
  /** Read foreign keys: with this connection, or (`true`, the default) with `dataSource`'s or else the cache's own. */
  foreignKeys?: boolean | Queryable;
  /** Tables and their domains. Default: what is watched in the database. */
  watch?: readonly DomainTable[];
  /** The domain of a type, entity or table where its name does not tell; `null` leaves it out. */
  domainOf?: DomainOf;
  /** Cascade from what refers to what is referred to as well: a post's write concerns its author. Default `false`. */
  bidirectional?: boolean;
  /** What the rules are called, so that several applications on one database keep theirs apart. Default `'auto'`. */
  name?: string;
  /**
   * Remove rules of this name that no longer follow, in the same transaction. Default `false`: another version of the
   * application, or another application, may still cache by them.
   */
  prune?: boolean;
  /** Tell what was found, line by line. Default `false`. */
  verbose?: boolean;
  /** Where to. Default: Nest's logger. */
  log?: (line: string) => void;
}

/** What was found, and what was made of it. */
export interface AutoCascade {
  graph: DomainGraph;
  rules: CascadeRule[];
}

/** The names of all options. */
export const AUTO_CASCADE_KEYS = [
  'schema',
  'dataSource',
  'foreignKeys',
  'watch',
  'domainOf',
  'bidirectional',
  'name',
  'prune',
  'verbose',
  'log',
];

/**
 * Find which domains depend on which, from the GraphQL schema, TypeORM's relations and foreign keys, and register a rule
 * for each pair: `user` cascades to `post:author_id:{id}`, or to `post:*` where not all that relates them is a column.
 * The same as `CascadeService.setupAutoRules`. Call it at every start, when the tables are watched: in `onApplicationBootstrap`.
 *
 * @throws CacheConfigurationError for wrong options, and where a name could be that of two domains; NotInstalledError.
 * @example
 * await setupAutoCascadeRules(app.get(CascadeService), {
 *   schema: app.get(GraphQLSchemaHost).schema,
 *   dataSource: app.get(DataSource),
 *   verbose: true,
 * });
 */
export async function setupAutoCascadeRules(
  cascade: CascadeService,
  options: AutoCascadeOptions = {},
): Promise<AutoCascade> {
  const connection = check(cascade, options);
  const logger = new Logger('ResultCache');
  const { verbose = false, log = (line: string) => logger.log(line), bidirectional = false } = options;
  const say = (line: string): void => (verbose ? log(line) : undefined);
  const { name = 'auto', prune = false } = options;
  const tables = options.watch ?? (await watchedTables(connection ?? options.dataSource ?? cascade.catalogue));
  // Before anything is watched nothing is found: then every rule would seem to be one too many.
  if (prune && tables.length === 0)
    throw new CacheConfigurationError(
      'setupAutoCascadeRules: prune would remove every rule, because no table is watched; call it when all are: in onApplicationBootstrap',
    );
  const names = new DomainNames(tables, options.domainOf);
  const parts = await analyze(options, connection, names, say);
  const graph = mergeDomainGraphs(...parts);

  for (const line of new Set(parts.flatMap(({ skipped }) => skipped))) say(`CASCADE: Skipped ${line}`);
  for (const edge of graph.edges) say(`CASCADE: Detected relationship: ${relationship(edge)}`);
  const planned = plan(graph, bidirectional, names);
  const rules = planned.map(({ source, patterns }) => ({ source, cascadeTo: [...patterns], name }));
  say(`CASCADE: Created ${rules.length} CASCADE rules`);
  for (const [index, { source, target, patterns, untraced }] of planned.entries()) {
    say(`CASCADE: Rule ${index + 1}: ${source}:{id} cascades to ${patterns.join(', ')}`);
    const composed = [source, target].find((domain) => names.isComposed(domain));
    if (composed !== undefined)
      say(`CASCADE: Rule ${index + 1} names no rows: several tables feed the domain ${composed}`);
    else if (untraced.length > 0)
      say(
        `CASCADE: Rule ${index + 1} names no rows: no column accounts for ${untraced.map((one) => one.detail).join('; ')}`,
      );
  }
  await cascade.register(rules, prune ? { replace: name } : {});
  say('✓ CASCADE rules configured');
  return { graph, rules };
}

async function analyze(
  { schema, dataSource }: AutoCascadeOptions,
  connection: Queryable | undefined,
  names: DomainNames,
  say: (line: string) => void,
): Promise<GraphPart[]> {
  const parts: GraphPart[] = [];
  if (schema !== undefined) {
    say('CASCADE: Analyzing GraphQL schema...');
    // Only who has a schema has the graphql package.
    const { analyzeSchema } = await import('./analyzers/graphql-schema.js');
    parts.push(analyzeSchema(schema, names));
  }
  if (dataSource !== undefined) {
    say('CASCADE: Analyzing TypeORM relations...');
    parts.push(analyzeRelations(dataSource, names));
  }
  if (connection !== undefined) {
    say('CASCADE: Analyzing foreign keys...');
    parts.push(await analyzeForeignKeys(connection, names));
  }
  return parts;
}

/** A rule per pair of domains; where both directions of edges make the same pair, what they say together. */
function plan(
  { edges }: DomainGraph,
  bidirectional: boolean,
  names: DomainNames,
): ({ source: string; target: string } & EdgePatterns)[] {
  const rules = new Map<string, { source: string; target: string } & EdgePatterns>();
  const add = (source: string, target: string, { patterns, untraced }: EdgePatterns): void => {
    const pair = JSON.stringify([source, target]);
    const known = rules.get(pair);
    const all = [...new Set([...(known?.patterns ?? []), ...patterns])];
    const broad = anyRow(target);
    rules.set(pair, {
      source,
      target,
      patterns: all.includes(broad) || names.isComposed(source) || names.isComposed(target) ? [broad] : all,
      untraced: [...(known?.untraced ?? []), ...untraced],
    });
  };
  for (const edge of edges) add(edge.source, edge.target, forwardPatterns(edge));
  if (bidirectional) for (const edge of edges) add(edge.target, edge.source, backwardPatterns(edge));
  return [...rules.values()];
}

/** `User -> Post (field: posts)`, by the first evidence that reads so. */
function relationship({ evidence, source, target }: DomainEdge): string {
  const best =
    evidence.find(({ kind, path }) => kind === 'graphql' && typeof path === 'object' && path.side === 'source') ??
    evidence[0];
  return best === undefined ? `${source} -> ${target}` : `${best.source} -> ${best.target} (${best.label})`;
}

/** @returns what to read foreign keys with. */
function check(cascade: CascadeService, options: AutoCascadeOptions): Queryable | undefined {
  const where = 'setupAutoCascadeRules';
  if (typeof cascade?.register !== 'function')
    throw new CacheConfigurationError(
      `${where}: its first argument is the CascadeService; write setupAutoCascadeRules(app.get(CascadeService), { schema })`,
    );
  if (typeof options !== 'object' || options === null)
    throw new CacheConfigurationError(`${where} needs options; write { schema }, { dataSource } or both`);
  const unknown = Object.keys(options).find((name) => !AUTO_CASCADE_KEYS.includes(name));
  if (unknown !== undefined)
    throw new CacheConfigurationError(
      `${where}: there is no option '${unknown}'; known are ${AUTO_CASCADE_KEYS.join(', ')}`,
    );
  const { schema, dataSource, foreignKeys = true, name } = options;
  if (name !== undefined && (typeof name !== 'string' || name === ''))
    throw new CacheConfigurationError(`${where}: name is no non-empty text; write name: 'shop', or leave it out`);
  for (const option of ['bidirectional', 'prune', 'verbose'] as const)
    if (options[option] !== undefined && typeof options[option] !== 'boolean')
      throw new CacheConfigurationError(`${where}: ${option} is neither true nor false; write ${option}: true`);
  if (
    dataSource !== undefined &&
    (!Array.isArray(dataSource.entityMetadatas) || dataSource.entityMetadatas.length === 0)
  )
    throw new CacheConfigurationError(
      `${where}: dataSource knows no entities; give a TypeORM DataSource that is initialized`,
    );
  const connection =
    foreignKeys === true ? (dataSource ?? cascade.catalogue) : foreignKeys === false ? undefined : foreignKeys;
  if (foreignKeys !== false && typeof connection?.query !== 'function')
    throw new CacheConfigurationError(
      `${where}: foreignKeys is neither true nor a connection; give a dataSource, or a pg.Pool as foreignKeys`,
    );
  if (schema === undefined && dataSource === undefined && connection === undefined)
    throw new CacheConfigurationError(`${where} has nowhere to look; write { schema }, { dataSource } or both`);
  return connection;
}
