import { DataSource, EntitySchema, type EntitySchemaColumnOptions } from 'typeorm';
import { type ReadContenderSpec } from './contender.js';
import { type Item, type ItemReaderSpec } from './items.js';

const name = 'TypeORM: cache: true';

/**
 * TypeORM's query cache as its documentation has it: `cache: true`, a table that it makes itself, and for each query an
 * id, by which it can be removed, and a time. That table has no index on the id: a read scans it.
 */
async function connect<Entity>(url: string, entity: EntitySchema<Entity>, poolSize?: number): Promise<DataSource> {
  const source = new DataSource({ type: 'postgres', url, entities: [entity], cache: true, poolSize });
  await source.initialize();
  // What `synchronize` does for the query cache, without touching the tables of the entities.
  const runner = source.createQueryRunner();
  await source.queryResultCache!.synchronize(runner);
  await runner.release();
  return source;
}

const cachedAs = (id: string): { id: string; milliseconds: number } => ({ id, milliseconds: 3_600_000 });

interface StoredValue {
  key: string;
  value: unknown;
}

export const typeOrm: ReadContenderSpec = {
  name,
  open: async ({ postgresUrl }, values) => {
    const entity = new EntitySchema<StoredValue>({
      name: 'StoredValue',
      tableName: 'typeorm_values',
      columns: { key: { type: 'text', primary: true }, value: { type: 'json' } },
    });
    const source = await connect(postgresUrl, entity);
    await source.query('CREATE TABLE IF NOT EXISTS typeorm_values (key text PRIMARY KEY, value json NOT NULL)');
    await source.query('TRUNCATE typeorm_values');
    await source.queryResultCache!.clear();
    const repository = source.getRepository(entity);
    const read = async (key: string): Promise<unknown> =>
      (await repository.findOneOrFail({ where: { key }, cache: cachedAs(key) })).value;
    await repository.insert([...values].map(([key, value]) => ({ key, value: value as object })));
    for (const key of values.keys()) await read(key);
    await source.query('VACUUM ANALYZE "query-result-cache"');
    // Only what is cached can be read from here on.
    await source.query('TRUNCATE typeorm_values');
    return { read, close: () => source.destroy() };
  },
};

/**
 * @param callers How many read at the same time. It stores a result on a second connection while it holds the first, so a pool
 * that is no larger than that hangs as soon as all of them miss at once.
 */
export function typeOrmItems(callers: number): ItemReaderSpec {
  return {
    name,
    maxStalenessMs: 0,
    open: async ({ postgresUrl }, table) => {
      const column: EntitySchemaColumnOptions = { type: 'int' };
      const entity = new EntitySchema<Item>({
        name: 'Item',
        tableName: table.name,
        columns: { id: { ...column, primary: true }, version: column, value: { type: 'json' } },
      });
      const source = await connect(postgresUrl, entity, callers + 1);
      const repository = source.getRepository(entity);
      const key = (id: number): string => `${table.name}:${id}`;
      return {
        read: (id) => repository.findOneOrFail({ where: { id }, cache: cachedAs(key(id)) }),
        invalidate: (id) => source.queryResultCache!.remove([key(id)]),
        close: () => source.destroy(),
      };
    },
  };
}
