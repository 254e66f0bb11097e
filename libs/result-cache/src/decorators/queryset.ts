import { CacheConfigurationError } from '../core/errors.js';

/** A list that has yet to be read: TypeORM's query builder, by shape, or anything that is iterated asynchronously. */
export type Queryset<T> = readonly T[] | AsyncIterable<T> | { getMany(): Promise<T[]> };

/**
 * Read a queryset to its end: a query builder by its `getMany`, a stream or generator by iterating, a list as it is.
 *
 * @throws CacheConfigurationError for anything else; `where` names the method.
 * @example
 * const stories = await collect(repository.createQueryBuilder('story').where('story.featured'));
 */
export async function collect<T>(queryset: Queryset<T>, where = 'collect'): Promise<T[]> {
  if (Array.isArray(queryset)) return queryset as T[];
  if (typeof queryset === 'object' && queryset !== null) {
    if ('getMany' in queryset && typeof queryset.getMany === 'function') return queryset.getMany();
    if (Symbol.asyncIterator in queryset) {
      const list: T[] = [];
      for await (const item of queryset) list.push(item);
      return list;
    }
  }
  throw new CacheConfigurationError(
    `${where} returned ${queryset === null ? 'null' : typeof queryset}, which is no queryset; return a list, a query builder (it has getMany) or an async iterable, or use @CacheQuery for a single value`,
  );
}
