import { CacheConfigurationError } from '../core/errors.js';
import { domainOf } from '../postgres/domain-of.js';
import { quoteIdentifier } from '../postgres/sql.js';
import { type WatchRequest } from '../postgres/watched-table.js';
import { type ColumnShape, type DataSourceShape, type EntityShape } from './shapes.js';
import {
  nameOfEntity,
  type EntityReference,
  type EntityWatchOptions,
  type TenantColumn,
  type WatchedEntity,
} from './watch-options.js';

/** The table of one or more entities, to be watched as one domain. */
export interface EntityTable extends WatchRequest {
  schema: string | undefined;
  tableName: string;
  /** Names of the entities, for messages. */
  entities: string[];
  /** Whether somebody named one of them, in place of asking for all. */
  isNamed: boolean;
  hasPrimaryKey: boolean;
}

/**
 * The tables that the watched entities live in, with junction and closure tables, as their metadata say. Needs no database.
 * @throws CacheConfigurationError for an entity that cannot be watched so.
 */
export function entityTables(
  source: Pick<DataSourceShape, 'entityMetadatas' | 'hasMetadata' | 'getMetadata'>,
  { watch, tenantColumn }: Omit<EntityWatchOptions, 'dataSource'>,
  where: string,
): EntityTable[] {
  const tables = new Map<string, EntityTable>();
  const wanted: WatchedEntity[] =
    watch === 'all'
      ? source.entityMetadatas.filter(({ tableType }) => tableType !== 'view').map(({ target }) => ({ entity: target }))
      : watch.map((item) => (isWatchedEntity(item) ? item : { entity: item }));
  // Junction and closure tables have no class of their own, so "all" must not look its entities up by it.
  const found = new Map<EntityShape, WatchedEntity>();
  if (watch === 'all') {
    const tabular = source.entityMetadatas.filter(({ tableType }) => tableType !== 'view');
    for (const [index, metadata] of tabular.entries()) found.set(metadata, wanted[index]!);
  } else {
    for (const item of wanted) found.set(metadataOf(source, item, where), item);
  }
  const isTenantColumnKnown = [...found.keys()].some((metadata) => hasColumn(metadata, tenantColumn));
  if (typeof tenantColumn === 'string' && !isTenantColumnKnown)
    throw new CacheConfigurationError(
      `${where}: no watched entity has a property or column '${tenantColumn}'; write the tenantColumn that they have, or leave it out`,
    );
  for (const [metadata, item] of found) {
    // Of single-table inheritance all classes share one table, and each may have columns that the others lack.
    for (const each of source.entityMetadatas.filter(({ tablePath }) => tablePath === metadata.tablePath))
      add(tables, tableOf(each, item, tenantColumn, each === metadata && watch !== 'all', where), where);
    const related = metadata.relations.map(({ junctionEntityMetadata }) => junctionEntityMetadata);
    for (const each of [...related, metadata.closureJunctionTable])
      if (each !== undefined) add(tables, tableOf(each, { entity: each.target }, undefined, false, where), where);
  }
  return [...tables.values()];
}

export function isWatchedEntity(item: EntityReference | WatchedEntity): item is WatchedEntity {
  return typeof item === 'object' && 'entity' in item;
}

function metadataOf(
  source: Pick<DataSourceShape, 'hasMetadata' | 'getMetadata'>,
  { entity }: WatchedEntity,
  where: string,
): EntityShape {
  const name = nameOfEntity(entity);
  if (!source.hasMetadata(entity))
    throw new CacheConfigurationError(
      `${where}: the DataSource does not know the entity ${name}; add it to the DataSource's entities (or autoLoadEntities), or name the DataSource that has it: dataSource: 'name'`,
    );
  const metadata = source.getMetadata(entity);
  if (metadata.tableType === 'view')
    throw new CacheConfigurationError(
      `${where}: ${name} is a view, and no trigger sees a view change; watch the entities it reads`,
    );
  return metadata;
}

function tableOf(
  metadata: EntityShape,
  { entity, domain, tenantColumn: own, tagColumns = [] }: WatchedEntity,
  general: TenantColumn | undefined,
  isNamed: boolean,
  where: string,
): EntityTable {
  const { schema, tableName } = metadata;
  const inherited = metadata.target !== entity && !isNamed;
  const keys = metadata.relations
    .filter(({ isWithJoinColumn }) => isWithJoinColumn)
    .map(({ joinColumns }) => joinColumns);
  // Either side of a junction is asked for by itself.
  const sides = metadata.isJunction || metadata.tableType === 'closure-junction';
  const groups = [
    metadata.primaryColumns,
    ...keys,
    ...(sides ? metadata.primaryColumns.map((column) => [column]) : []),
  ];
  const asked = inherited
    ? []
    : tagColumns.map((group) => group.map((name) => columnOf(metadata, name, 'tagColumns', where)));
  return {
    table: [schema, tableName].flatMap((part) => (part === undefined ? [] : [quoteIdentifier(part)])).join('.'),
    schema,
    tableName,
    domain: domain ?? domainOf(tableName),
    isDefaultDomain: domain === undefined,
    tenantColumn: tenantColumnOf(metadata, own, general, where),
    tagColumns: unique(
      [...groups, ...asked]
        .filter((group) => group.length > 0)
        .map((group) => group.map((column) => column.databaseName)),
    ),
    entities: [metadata.name],
    isNamed,
    hasPrimaryKey: metadata.primaryColumns.length > 0,
  };
}

function tenantColumnOf(
  metadata: EntityShape,
  own: string | null | undefined,
  general: TenantColumn | undefined,
  where: string,
): string | undefined {
  if (own === null) return undefined;
  if (own !== undefined) return columnOf(metadata, own, 'tenantColumn', where).databaseName;
  if (typeof general === 'function') {
    const name = general(metadata.target);
    return name == null ? undefined : columnOf(metadata, name, 'tenantColumn', where).databaseName;
  }
  const names = general === undefined ? ['tenantId', 'tenant_id'] : [general];
  return names.map((name) => findColumn(metadata, name)).find((column) => column !== undefined)?.databaseName;
}

function hasColumn(metadata: EntityShape, name: unknown): boolean {
  return typeof name === 'string' && findColumn(metadata, name) !== undefined;
}

function findColumn({ columns }: EntityShape, name: string): ColumnShape | undefined {
  const real = columns.filter(({ isVirtualProperty }) => !isVirtualProperty);
  return (
    real.find(({ propertyPath }) => propertyPath === name) ?? real.find(({ databaseName }) => databaseName === name)
  );
}

function columnOf(metadata: EntityShape, name: string, option: string, where: string): ColumnShape {
  const column = findColumn(metadata, name);
  if (column !== undefined) return column;
  const known = metadata.columns.map(({ propertyPath }) => propertyPath).join(', ');
  throw new CacheConfigurationError(
    `${where}: ${option}: ${metadata.name} has no property or column '${name}'; it has ${known}`,
  );
}

/** Put a table to the others; two entities on one table make one domain. */
function add(tables: Map<string, EntityTable>, table: EntityTable, where: string): void {
  const known = tables.get(table.table);
  tables.set(table.table, known === undefined ? table : mergeTables(known, table, where));
}

/** @throws CacheConfigurationError where two entities disagree about their table. */
export function mergeTables(a: EntityTable, b: EntityTable, where: string): EntityTable {
  const who = `${a.entities.join(', ')} and ${b.entities.join(', ')} share the table ${a.table}`;
  if (a.domain !== b.domain && !a.isDefaultDomain && !b.isDefaultDomain)
    throw new CacheConfigurationError(
      `${where}: ${who}, but not the domain ('${a.domain}' and '${b.domain}'); a table feeds one domain, give them the same`,
    );
  if (a.tenantColumn !== undefined && b.tenantColumn !== undefined && a.tenantColumn !== b.tenantColumn)
    throw new CacheConfigurationError(
      `${where}: ${who}, but not the tenant column ('${a.tenantColumn}' and '${b.tenantColumn}'); give them the same`,
    );
  return {
    ...(a.isDefaultDomain ? b : a),
    tenantColumn: a.tenantColumn ?? b.tenantColumn,
    tagColumns: unique([...(a.tagColumns ?? []), ...(b.tagColumns ?? [])]),
    entities: [...new Set([...a.entities, ...b.entities])],
    isNamed: a.isNamed || b.isNamed,
    hasPrimaryKey: a.hasPrimaryKey || b.hasPrimaryKey,
  };
}

function unique(groups: readonly string[][]): string[][] {
  return [...new Map(groups.map((group) => [JSON.stringify(group), group])).values()];
}
