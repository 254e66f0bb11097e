import { type EntityMetadata } from 'typeorm';
import { type Dependencies } from '../core/dependencies.js';
import { type CacheStore } from '../core/store.js';
import { PostgresCache } from '../postgres/postgres-cache.js';
import { type WatchedRelation } from '../postgres/watched-table.js';
import { dataSourceOf, isReplicated } from './data-source-of.js';
import { metadatasOf, returnsEntities, runnerOf, type EntityQuery } from './entity-query.js';
import { type Footprint } from './footprint.js';
import { joinedRows, type RawRow } from './joined-rows.js';
import { WatchedEntities, type Watching } from './watched-entities.js';

/** What the cache is told about one read. */
export interface ReadPlan {
  dependencies: Dependencies;
  /** The metadata do not account for all of it: what it reads is found from its statements when they run. */
  infers: boolean;
  /** Every table it could depend on, as a whole. */
  domains: string[];
  footprint: Footprint;
  entities: Iterable<EntityMetadata>;
  /** The tables' names in the database, for the key. */
  tables: string[];
  domainOf: (metadata: EntityMetadata) => string;
  watching: Watching;
  /** Whether tables are still watched as they were when this was made. */
  holds: () => Promise<boolean>;
  /** What it was made from, beside the query. */
  from: readonly unknown[];
}

/** A read that cannot be cached, and why. */
export class Uncacheable {
  constructor(readonly why: string) {}
}

/**
 * What the query depends on, or why it cannot be cached.
 * @param isAnybodys Whether nothing tells for whom it is read.
 */
export async function planRead(
  query: EntityQuery,
  store: CacheStore,
  isAnybodys: boolean,
  isKeyless: boolean,
): Promise<ReadPlan | Uncacheable> {
  const { qb, kind } = query;
  const source = dataSourceOf(qb);
  if (!(store instanceof PostgresCache)) return new Uncacheable('the cache lives in no PostgreSQL');
  if (!query.isOwn && qb.expressionMap.cache === true)
    return new Uncacheable("it asks for TypeORM's own cache, which answers with old data; leave out .cache(…)");
  if (isReplicated(source) && runnerOf(qb)?.getReplicationMode() === 'slave')
    return new Uncacheable('it reads from a replica, which may be behind; use a QueryRunner of the primary, or none');
  const { cache: ownCache } = source.options;
  if (typeof ownCache === 'object' && ownCache !== null && 'alwaysEnabled' in ownCache && ownCache.alwaysEnabled)
    return new Uncacheable(
      "the DataSource's own cache is always enabled, and answers with old data; leave out cache.alwaysEnabled",
    );
  let known: Awaited<ReturnType<WatchedEntities['look']>>;
  try {
    known = await new WatchedEntities(store, source).look();
  } catch (error) {
    return new Uncacheable(`the database could not be asked how its tables are watched (${(error as Error).message})`);
  }
  const footprint = query.footprintOf(known.watching);
  const domains = new Set<string>();
  const all = new Set([
    ...footprint.whole,
    ...footprint.rows.map(([metadata]) => metadata),
    ...metadatasOf(query),
    ...footprint.open.flatMap(({ relation }) => relation!.junctionEntityMetadata ?? []),
  ]);
  const guards = [...all].map((metadata) => known.watching(metadata)?.guarded);
  if (guards.includes('elsewhere')) footprint.opaque ??= 'row-level security reads other tables with it';
  const infers = footprint.opaque !== undefined;
  if (isAnybodys && guards.some((guard) => guard !== undefined))
    return new Uncacheable(
      "row-level security decides what of it is seen, and neither a tenant nor a key tells for whom: write { key: role } (or { key: 'all' } where every connection sees the same)",
    );
  if (isKeyless && qb.expressionMap.relationIdAttributes.some(({ queryBuilderFactory }) => queryBuilderFactory))
    return new Uncacheable(
      "loadRelationIdAndMap has a query of its own, which the key does not show: write { key: 'what it asks for' }",
    );
  // No table's write tells of it, and no key.
  if (infers && SESSION_INPUTS.test(query.sql))
    return new Uncacheable('its SQL reads what the connection holds (current_user, current_setting, …)');
  for (const metadata of all) {
    if (infers) break;
    const watched = known.watching(metadata);
    if (watched === undefined) return new Uncacheable(notWatched(`${metadata.tablePath} of ${metadata.name}`));
  }
  const lazy = [...all].find(({ lazyRelations }) => lazyRelations.length > 0);
  if (lazy !== undefined && returnsEntities(kind))
    return new Uncacheable(
      `${lazy.name} has lazy relations (${lazy.lazyRelations.map(({ propertyName }) => propertyName).join(', ')}), which a cached entity could not load; ask for them with relations, and make them plain`,
    );
  const domainOf = (metadata: EntityMetadata): string => known.watching(metadata)!.domain;
  for (const metadata of footprint.whole) if (known.watching(metadata)) domains.add(domainOf(metadata));
  const rows = footprint.rows
    .map(([metadata, values]) => [domainOf(metadata), values, true] as const)
    .filter(([domain]) => !domains.has(domain));
  return {
    dependencies: { domains: [...domains], rows, free: [] },
    infers,
    domains: [...new Set([...domains, ...[...all].filter(known.watching).map(domainOf)])],
    footprint,
    entities: all,
    tables: [...all].map((metadata) => known.tableOf.get(metadata) ?? '').sort(),
    domainOf,
    watching: known.watching,
    holds: () =>
      store.watchedRelations().then(
        (relations) => isEqual(relations, known.byName),
        () => false,
      ),
    from: [known.byName, known.tableOf],
  };
}

/** Dependencies on what the joins read, known from the rows that came back. */
export function foundByJoins(
  { footprint, dependencies, domainOf, watching }: ReadPlan,
  raw: readonly RawRow[] | undefined,
  main: string,
): Partial<Dependencies> {
  const found =
    raw === undefined
      ? {
          whole: new Set(
            footprint.open.flatMap(({ relation }) => [
              relation!.inverseEntityMetadata,
              ...(relation!.junctionEntityMetadata ? [relation!.junctionEntityMetadata] : []),
            ]),
          ),
          rows: [],
        }
      : joinedRows(footprint, raw, main, watching);
  const domains = new Set([...found.whole].map(domainOf));
  const rows = found.rows
    .map(([metadata, values]) => [domainOf(metadata), values, true] as const)
    .filter(([domain]) => !domains.has(domain) && !dependencies.domains.includes(domain));
  return { domains: [...domains], rows };
}

/** What distinguishes a query from others. */
export function identityOf({ qb, sql, parameters, shape }: EntityQuery, { tables }: ReadPlan): readonly unknown[] {
  const { skip, take, relationLoadStrategy } = qb.expressionMap;
  return [tables, sql, parameters, shape, skip ?? null, take ?? null, relationLoadStrategy];
}

/** What SQL can ask of the session it runs in. */
const SESSION_INPUTS =
  /(?<!["'\w.])(current_(user|role|setting|schemas?|catalog|database|query)|session_user|user|inet_client_\w+)(?!["'\w])/i;

function isEqual(a: ReadonlyMap<string, WatchedRelation>, b: ReadonlyMap<string, WatchedRelation>): boolean {
  return a === b || JSON.stringify([...a].sort()) === JSON.stringify([...b].sort());
}

function notWatched(table: string): string {
  return `the table ${table} is not watched; write TypeOrmCacheModule.forFeature([…]) or CacheModule.forFeature({ watch: […] }) with its entity`;
}
