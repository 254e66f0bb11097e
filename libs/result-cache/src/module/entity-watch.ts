import { Inject, Injectable, Logger } from '@nestjs/common';
import { ModulesContainer } from '@nestjs/core';
import { CacheConfigurationError } from '../core/errors.js';
import { entityTables, isWatchedEntity, mergeTables, type EntityTable } from '../entities/entity-tables.js';
import { isDataSource, type DataSourceShape } from '../entities/shapes.js';
import { nameOfEntity, type EntityReference, type EntityWatchOptions } from '../entities/watch-options.js';
import { quoteIdentifier, statement } from '../postgres/sql.js';
import { type WatchRequest } from '../postgres/watched-table.js';
import { CacheRegistry } from './cache-registry.js';
import { type CacheModuleOptions } from './options.js';
import { CACHE_OPTIONS } from './tokens.js';

/** What a name of an entity's table stands for. */
interface FoundTable {
  schema: string | null;
  table: string | null;
  kind: string | null;
  /** Columns of the primary key, as JSON. */
  key: string | null;
  database: string;
}

/** Turns the entities that modules want watched into tables, by the DataSources of the application. */
@Injectable()
export class EntityWatch {
  private readonly logger = new Logger('ResultCache');
  private readonly warned = new Set<string>();

  constructor(
    @Inject(CACHE_OPTIONS) private readonly options: CacheModuleOptions,
    @Inject(CacheRegistry) private readonly registry: CacheRegistry,
    @Inject(ModulesContainer) private readonly modules: ModulesContainer,
  ) {}

  /** From now on the cache's installation watches what was asked for. When all modules have been made. */
  attach(): void {
    if (this.registry.entityWatches.length === 0) return;
    this.registry.store.watchAlso(async (query) => {
      const [[database]] = (await query(statement('database'))) as [[string]];
      const tables = new Map<string, EntityTable>();
      for (const { options, where } of this.registry.entityWatches)
        for (const table of await this.tables(options, where, database)) {
          const known = tables.get(table.table);
          tables.set(table.table, known === undefined ? table : mergeTables(known, table, where));
        }
      return [...tables.values()].map(({ table, domain, isDefaultDomain, tenantColumn, tagColumns }): WatchRequest => ({
        table,
        domain,
        isDefaultDomain,
        tenantColumn,
        tagColumns,
      }));
    });
  }

  /**
   * The DataSource of a name; without one, the only one of those that know these entities.
   * @throws CacheConfigurationError
   */
  dataSource(name: string | undefined, entities: readonly EntityReference[] | 'all', where: string): DataSourceShape {
    const sources = this.dataSources();
    if (sources.size === 0)
      throw new CacheConfigurationError(
        `${where}: the application has no TypeORM DataSource; import TypeOrmModule.forRoot(...), or provide a DataSource of your own`,
      );
    const named = [...sources].filter(([source, tokens]) => name === undefined || isNamed(source, tokens, name));
    if (named.length === 0)
      throw new CacheConfigurationError(
        `${where}: the application has no DataSource named '${name}'; write the name that TypeOrmModule.forRoot({ name }) has`,
      );
    const knowing = named.filter(
      ([source]) => named.length === 1 || entities === 'all' || entities.every((entity) => source.hasMetadata(entity)),
    );
    if (knowing.length === 0)
      throw new CacheConfigurationError(
        `${where}: no DataSource knows ${(entities as EntityReference[]).map(nameOfEntity).join(', ')}; add them to a DataSource's entities, and name it: dataSource: 'name'`,
      );
    if (knowing.length > 1)
      throw new CacheConfigurationError(
        `${where}: there are several DataSources that could be meant; say which: dataSource: 'name'`,
      );
    const [[source]] = knowing as [[DataSourceShape, unknown]];
    if (source.options.type !== 'postgres' && source.options.type !== 'aurora-postgres')
      throw new CacheConfigurationError(
        `${where}: the DataSource is of type '${source.options.type}'; only tables in the PostgreSQL that the cache lives in can be watched, so name a DataSource of type 'postgres'`,
      );
    if (!source.isInitialized)
      throw new CacheConfigurationError(
        `${where}: the DataSource is not initialised yet; await its initialize() in the provider's factory`,
      );
    return source;
  }

  /** Each DataSource once, with the tokens it is provided under. */
  private dataSources(): Map<DataSourceShape, unknown[]> {
    const found = new Map<DataSourceShape, unknown[]>();
    for (const module of this.modules.values())
      for (const { instance, token } of module.providers.values())
        if (isDataSource(instance)) found.set(instance, [...(found.get(instance) ?? []), token]);
    const { connection } = this.options;
    if (isDataSource(connection) && !found.has(connection)) found.set(connection, []);
    return found;
  }

  private async tables(options: EntityWatchOptions, where: string, database: string): Promise<EntityTable[]> {
    const entities =
      options.watch === 'all'
        ? options.watch
        : options.watch.map((item) => (isWatchedEntity(item) ? item.entity : item));
    const source = this.dataSource(options.dataSource, entities, where);
    const tables = entityTables(source, options, where);
    const found = (await source.query(statement('entity-tables'), [tables.map(({ table }) => table)])) as FoundTable[];
    return tables.flatMap((table, index) => this.locate(table, found[index]!, database, where));
  }

  /** A table as the database knows it: by its schema, whatever the search path of those who read the name. */
  private locate(table: EntityTable, found: FoundTable, database: string, where: string): EntityTable[] {
    const name = `${table.entities.join(', ')} (table ${table.table})`;
    if (found.database !== database)
      throw new CacheConfigurationError(
        `${where}: the DataSource is connected to another database than the cache; triggers reach only what is beside them, so give the cache's connection the same database`,
      );
    if (found.schema === null || found.table === null)
      throw new CacheConfigurationError(
        `${where}: the table of ${name} does not exist; run the migrations before the application starts`,
      );
    if (found.kind !== 'r' && found.kind !== 'p') {
      if (!table.isNamed) return [];
      throw new CacheConfigurationError(
        `${where}: ${name} is no table in the database; watch the entities of the tables behind it`,
      );
    }
    if (!table.hasPrimaryKey)
      this.warn(`${name} has no primary key: a write to any of its rows voids all that reads it`);
    // The same columns in the order of the entity would be a second tag for the same.
    const key = found.key === null ? '' : [...(JSON.parse(found.key) as string[])].sort().join();
    const tagColumns = table.tagColumns?.filter((group) => [...group].sort().join() !== key);
    return [{ ...table, tagColumns, table: `${quoteIdentifier(found.schema)}.${quoteIdentifier(found.table)}` }];
  }

  private warn(message: string): void {
    if (this.warned.has(message)) return;
    this.warned.add(message);
    this.logger.warn(message);
  }
}

/** Nest's TypeORM module provides a named DataSource under `<name>DataSource`; older TypeORM kept the name itself. */
function isNamed(source: DataSourceShape, tokens: readonly unknown[], name: string): boolean {
  return (
    tokens.includes(`${name}DataSource`) ||
    source.options.name === name ||
    (name === 'default' && tokens.some((token) => typeof token === 'function'))
  );
}
