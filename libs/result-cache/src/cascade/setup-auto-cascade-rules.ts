import { Logger } from '@nestjs/common';
import { CacheConfigurationError } from '../core/errors.js';
import { type Queryable } from '../core/store.js';
import { type SchemaLike } from '../graphql/schema-analyzer.js';
import { analyzeRelations, type RelationSource } from '../typeorm/relation-analyzer.js';
import { analyzeForeignKeys, watchedTables } from './analyzers/foreign-keys.js';
import { mergeDomainGraphs, type DomainEdge, type DomainGraph, type GraphPart } from './domain-graph.js';
import { DomainNames, type DomainOf, type DomainTable } from './domain-names.js';
import { backwardPatterns, forwardPatterns, type EdgePatterns } from './rule-patterns.js';

/** A rule as it is found here; `name` marks those that were not written by hand. */
export interface AutoCascadeRule {
  source: string;
  cascadeTo: string[];
  name: string;
}

/** Whatever takes cascade rules. */
export interface CascadeRegistrar {
  register(rules: AutoCascadeRule[]): unknown;
}

/** Where to look for relationships, and what to make of them. At least one of the first three. */
export interface AutoCascadeOptions {
  /** A `GraphQLSchema` or SDL text. */
  schema?: SchemaLike | string;
  /** An initialized TypeORM `DataSource`: its relations, and the connection that foreign keys are read with. */
  dataSource?: RelationSource & Queryable;
  /** Read foreign keys: with this connection, or with `dataSource`'s. Default: `true` where there is a `dataSource`. */
  foreignKeys?: boolean | Queryable;
  /** Tables and their domains. Default: what is watched in the database, where a connection is given. */
  watch?: readonly DomainTable[];
  /** The domain of a type, entity or table where its name does not tell; `null` leaves it out. */
  domainOf?: DomainOf;
  /** Cascade from what refers to what is referred to as well: a post's write concerns its author. Default `false`. */
  bidirectional?: boolean;
  /** Tell what was found, line by line. Default `false`. */
  verbose?: boolean;
  /** Where to. Default: Nest's logger. */
  log?: (line: string) => void;
}

/** What was found, and what was made of it. */
export interface AutoCascade {
  graph: DomainGraph;
  rules: AutoCascadeRule[];
}

const KNOWN = ['schema', 'dataSource', 'foreignKeys', 'watch', 'domainOf', 'bidirectional', 'verbose', 'log'];

/** The `name` of rules that were found. */
const AUTO = 'auto';

/**
 * Find which domains depend on which, from the GraphQL schema, TypeORM's relations and foreign keys, and register a rule
 * for each pair: `user` cascades to `post:author_id:{id}`, or to `post:*` where not all that relates them is a column.
 *
 * @throws CacheConfigurationError for wrong options, and where a name could be that of two domains.
 * @example
 * await setupAutoCascadeRules(app.get(CascadeService), {
 *   schema: app.get(GraphQLSchemaHost).schema,
 *   dataSource: app.get(DataSource),
 *   verbose: true,
 * });
 */
export async function setupAutoCascadeRules(
  cascade: CascadeRegistrar,
  options: AutoCascadeOptions,
): Promise<AutoCascade> {
  const connection = check(cascade, options);
  const logger = new Logger('ResultCache');
  const { verbose = false, log = (line: string) => logger.log(line), bidirectional = false } = options;
  const say = (line: string): void => (verbose ? log(line) : undefined);
  const readWith = connection ?? options.dataSource;
  const tables = options.watch ?? (readWith === undefined ? [] : await watchedTables(readWith));
  const names = new DomainNames(tables, options.domainOf);
  const parts = await analyze(options, connection, names, say);
  const graph = mergeDomainGraphs(...parts);

  for (const line of new Set(parts.flatMap(({ skipped }) => skipped))) say(`CASCADE: Skipped ${line}`);
  for (const edge of graph.edges) say(`CASCADE: Detected relationship: ${relationship(edge)}`);
  const planned = plan(graph, bidirectional, names);
  const rules = planned.map(({ source, patterns }) => ({ source, cascadeTo: [...patterns], name: AUTO }));
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
  await cascade.register(rules);
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
    const { analyzeSchema } = await import('../graphql/schema-analyzer.js');
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
    const broad = `${target}:*`;
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
function check(cascade: CascadeRegistrar, options: AutoCascadeOptions): Queryable | undefined {
  const where = 'setupAutoCascadeRules';
  if (typeof cascade?.register !== 'function')
    throw new CacheConfigurationError(
      `${where}: its first argument takes the rules; write setupAutoCascadeRules(app.get(CascadeService), { schema })`,
    );
  if (typeof options !== 'object' || options === null)
    throw new CacheConfigurationError(`${where} needs options; write { schema }, { dataSource } or both`);
  const unknown = Object.keys(options).find((name) => !KNOWN.includes(name));
  if (unknown !== undefined)
    throw new CacheConfigurationError(`${where}: there is no option '${unknown}'; known are ${KNOWN.join(', ')}`);
  const { schema, dataSource, foreignKeys = dataSource !== undefined } = options;
  if (
    dataSource !== undefined &&
    (!Array.isArray(dataSource.entityMetadatas) || dataSource.entityMetadatas.length === 0)
  )
    throw new CacheConfigurationError(
      `${where}: dataSource knows no entities; give a TypeORM DataSource that is initialized`,
    );
  const connection = foreignKeys === true ? dataSource : foreignKeys === false ? undefined : foreignKeys;
  if (foreignKeys !== false && typeof connection?.query !== 'function')
    throw new CacheConfigurationError(
      `${where}: foreignKeys needs a connection; give a dataSource, or a pg.Pool as foreignKeys`,
    );
  if (schema === undefined && dataSource === undefined && connection === undefined)
    throw new CacheConfigurationError(`${where} has nowhere to look; write { schema }, { dataSource } or both`);
  return connection;
}
