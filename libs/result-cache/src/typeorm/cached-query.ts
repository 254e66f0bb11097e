import { type ObjectLiteral, type SelectQueryBuilder } from 'typeorm';
import { type Reader } from './entity-reader.js';
import { type EntityReadOptions } from './read-options.js';

/** A query builder's query, read through the cache; see {@link CachedEntityRepository.cached}. */
export class CachedQuery<Entity extends ObjectLiteral> {
  constructor(
    private readonly reader: Reader,
    private readonly qb: SelectQueryBuilder<Entity>,
    private readonly how: EntityReadOptions,
  ) {}

  /** The entities that it finds. */
  async getMany(): Promise<Entity[]> {
    return this.reader.built('find', this.qb, this.how);
  }

  /** The first of them, or `null`. */
  async getOne(): Promise<Entity | null> {
    return this.reader.built('findOne', this.qb, this.how);
  }

  /** The entities, and how many there are without `skip` and `take`. */
  async getManyAndCount(): Promise<[Entity[], number]> {
    return this.reader.built('findAndCount', this.qb, this.how);
  }

  /** How many there are. */
  async getCount(): Promise<number> {
    return this.reader.built('count', this.qb, this.how);
  }

  /** The rows as they come, without entities. */
  async getRawMany<T extends ObjectLiteral = ObjectLiteral>(): Promise<T[]> {
    return this.reader.built('getRawMany', this.qb, this.how);
  }
}
