import { type DataSource, type EntityMetadata } from 'typeorm';
import { type ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';
import { Answer } from '../postgres/answer.js';
import { type PostgresCache } from '../postgres/postgres-cache.js';
import { quoteIdentifier, statement } from '../postgres/sql.js';
import { type WatchedRelation } from '../postgres/watched-table.js';

/** How the tables of entities are watched; `undefined` for one that is not. */
export type Watching = (metadata: EntityMetadata) => WatchedRelation | undefined;

/**
 * Whether `=` on these columns compares what their tags are made of. It does not where a type folds case (citext) or
 * blanks (char); such columns are never tags, so being one is the proof.
 */
export function compareExactly(watching: Watching, column: ColumnMetadata): boolean {
  return [column, column.referencedColumn].every(
    (each) =>
      each !== undefined &&
      watching(each.entityMetadata)?.tagColumns.some((group) => group.includes(each.databaseName)) === true,
  );
}

/** Names of tables as the database knows them, by entity. */
type Tables = ReadonlyMap<EntityMetadata, string>;

const tablesOfSources = new WeakMap<DataSource, WeakMap<PostgresCache, Answer<Tables>>>();

/** How the tables of a DataSource's entities are watched by the cache beside them. */
export class WatchedEntities {
  constructor(
    private readonly store: PostgresCache,
    private readonly source: DataSource,
  ) {}

  /** @throws where one of the two databases cannot be asked */
  async look(): Promise<{ watching: Watching; tableOf: Tables; byName: ReadonlyMap<string, WatchedRelation> }> {
    const byName = await this.store.watchedRelations();
    const tableOf = await this.tables();
    return { watching: (metadata) => byName.get(tableOf.get(metadata) ?? ''), tableOf, byName };
  }

  /** The two that a plan is made from, `byName` and `tableOf`, where neither database needs to be asked. */
  static known(store: PostgresCache, source: DataSource): readonly [unknown, unknown] | undefined {
    const byName = store.knownRelations;
    const tableOf = tablesOfSources.get(source)?.get(store)?.value;
    return byName === undefined || tableOf === undefined ? undefined : [byName, tableOf];
  }

  private async tables(): Promise<Tables> {
    const ofSource = tablesOfSources.get(this.source) ?? new WeakMap<PostgresCache, Answer<Tables>>();
    tablesOfSources.set(this.source, ofSource);
    let found = ofSource.get(this.store);
    if (found === undefined) {
      ofSource.set(this.store, (found = new Answer(this.readTables())));
      found.promise.catch(() => ofSource.delete(this.store));
    }
    return found.promise;
  }

  private async readTables(): Promise<Tables> {
    const metadatas = this.source.entityMetadatas;
    const names = metadatas.map(({ schema, tableName }) =>
      [schema, tableName].flatMap((part) => (part === undefined ? [] : [quoteIdentifier(part)])).join('.'),
    );
    const rows: { schema: string | null; table: string | null; database: string }[] = await this.source.query(
      statement('entity-tables'),
      [names],
    );
    // Of a table of the same name in another database the triggers here know nothing.
    const here = await this.store.database();
    return new Map(
      rows.flatMap(({ schema, table, database }, index) =>
        schema === null || table === null || database !== here
          ? []
          : [[metadatas[index]!, `${quoteIdentifier(schema)}.${quoteIdentifier(table)}`]],
      ),
    );
  }
}
