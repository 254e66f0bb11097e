import { LRUCache } from 'lru-cache';
import { type DataSource, type EntityMetadata, type FindManyOptions, type Repository } from 'typeorm';
import { dataSourceOf } from './data-source-of.js';

const MOST_QUERIES = 1_000;

/** What is known of find options that were read before, as long as nothing that it was made from is another. */
interface Remembered<T> {
  /** Identities of what it was made from. */
  from: readonly unknown[];
  entities: readonly EntityMetadata[];
  paths: string;
  value: T;
}

/**
 * Remembers what became of find options, because building TypeORM's query takes longer than a hit. Only for options that
 * are plain data and become the same query every time: a column transformer could give another value for another request.
 */
export class QueryMemory<T> {
  private readonly memory = new WeakMap<EntityMetadata, LRUCache<string, Remembered<T>>>();
  private readonly transforming = new WeakMap<DataSource, boolean>();

  /** The name of a read; `undefined` for one that is not to be remembered. */
  nameOf(kind: string, repository: Repository<any>, options: FindManyOptions<any>): string | undefined {
    const { manager, metadata } = repository;
    if (manager.queryRunner !== undefined || options.lock !== undefined || options.transaction === true)
      return undefined;
    if (this.transforms(dataSourceOf(metadata)) || !isPlain(options)) return undefined;
    return JSON.stringify([kind, options]);
  }

  /** Whether it was kept, be it outdated. */
  has(metadata: EntityMetadata, name: string): boolean {
    return this.memory.get(metadata)?.has(name) ?? false;
  }

  /** The options in a name: the caller's may have changed since. */
  optionsOf(name: string): FindManyOptions<any> {
    return (JSON.parse(name) as [string, FindManyOptions<any>])[1];
  }

  recall(metadata: EntityMetadata, name: string, from: readonly unknown[]): T | undefined {
    const found = this.memory.get(metadata)?.get(name);
    if (found === undefined || found.from.some((each, index) => each !== from[index])) return undefined;
    return found.paths === pathsOf(found.entities) ? found.value : undefined;
  }

  keep(
    metadata: EntityMetadata,
    name: string,
    { from, entities, value }: { from: readonly unknown[]; entities: Iterable<EntityMetadata>; value: T },
  ): void {
    let memory = this.memory.get(metadata);
    if (memory === undefined) this.memory.set(metadata, (memory = new LRUCache({ max: MOST_QUERIES })));
    const list = [metadata, ...entities];
    memory.set(name, { from, entities: list, paths: pathsOf(list), value });
  }

  private transforms(source: DataSource): boolean {
    let transforms = this.transforming.get(source);
    if (transforms === undefined) {
      transforms = source.entityMetadatas.some(({ columns }) =>
        columns.some(({ transformer }) => transformer !== undefined),
      );
      this.transforming.set(source, transforms);
    }
    return transforms;
  }
}

/** Some applications have them changed while they run. */
function pathsOf(entities: readonly EntityMetadata[]): string {
  return entities.map(({ tablePath }) => tablePath).join();
}

/** Whether JSON shows all of it. */
function isPlain(value: unknown): boolean {
  if (typeof value === 'number') return Number.isFinite(value);
  if (typeof value !== 'object') return typeof value === 'string' || typeof value === 'boolean';
  if (value === null) return true;
  if (Array.isArray(value)) return value.every(isPlain);
  const prototype: unknown = Object.getPrototypeOf(value);
  return (
    (prototype === Object.prototype || prototype === null) &&
    Reflect.ownKeys(value).every((key) => {
      const property = Object.getOwnPropertyDescriptor(value, key);
      return typeof key === 'string' && property?.enumerable === true && isPlain(property.value);
    })
  );
}
