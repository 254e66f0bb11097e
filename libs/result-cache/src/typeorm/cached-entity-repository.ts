import {
  EntityNotFoundError,
  type EntityManager,
  type EntityTarget,
  type FindManyOptions,
  type FindOneOptions,
  type FindOptionsWhere,
  type ObjectLiteral,
  type Repository,
  type SelectQueryBuilder,
} from 'typeorm';
import { CachedQuery } from './cached-query.js';
import { type Kind } from './entity-query.js';
import { type Reader } from './entity-reader.js';
import { plainReader } from './plain-reader.js';
import { type EntityReadOptions } from './read-options.js';

/**
 * Reads of a TypeORM repository through the cache. What a result depends on is taken from the query: rows by primary key,
 * foreign key or tenant where it asks for no others, and whole tables where it does. Whatever writes to them, this
 * repository, a plain one or `psql`, is seen by the next read.
 *
 * Writes go through {@link repository}.
 *
 * @example
 * constructor(@InjectCachedRepository(User) private readonly users: CachedEntityRepository<User>) {}
 * one(id: number) {
 *   return this.users.findOneBy({ id }, { ttl: '10m' });
 * }
 */
export class CachedEntityRepository<Entity extends ObjectLiteral> {
  constructor(
    private readonly reader: Reader,
    private readonly find_: () => Repository<Entity>,
  ) {}

  /**
   * One that reads past any cache: for a service in a unit test, or to compare with.
   * @example new UsersService(CachedEntityRepository.uncached(dataSource.getRepository(User)))
   */
  static uncached<Entity extends ObjectLiteral>(repository: Repository<Entity>): CachedEntityRepository<Entity> {
    return new CachedEntityRepository<Entity>(plainReader, () => repository);
  }

  /** TypeORM's own repository: for writes, and for reads that are to pass by the cache. */
  get repository(): Repository<Entity> {
    return this.find_();
  }

  /** The same for a transaction's manager: while it is open, reads pass by the cache. */
  withManager(manager: EntityManager): CachedEntityRepository<Entity> {
    return new CachedEntityRepository(this.reader, () => manager.withRepository(this.find_()));
  }

  /** As `Repository.find`. */
  find(options: FindManyOptions<Entity> = {}, how: EntityReadOptions = {}): Promise<Entity[]> {
    return this.read('find', options, how);
  }

  /** As `Repository.findBy`. */
  findBy(where: FindOptionsWhere<Entity> | FindOptionsWhere<Entity>[], how: EntityReadOptions = {}): Promise<Entity[]> {
    return this.read('find', { where }, how);
  }

  /** As `Repository.findOne`. That nothing was found is cached as well. */
  findOne(options: FindOneOptions<Entity>, how: EntityReadOptions = {}): Promise<Entity | null> {
    if (!options?.where)
      return Promise.reject(new Error('You must provide selection conditions in order to find a single row.'));
    return this.read('findOne', { ...options, take: 1 }, how);
  }

  /** As `Repository.findOneBy`. */
  findOneBy(
    where: FindOptionsWhere<Entity> | FindOptionsWhere<Entity>[],
    how: EntityReadOptions = {},
  ): Promise<Entity | null> {
    return this.read('findOne', { where, take: 1 }, how);
  }

  /** As `Repository.findOneOrFail`. @throws EntityNotFoundError */
  async findOneOrFail(options: FindOneOptions<Entity>, how: EntityReadOptions = {}): Promise<Entity> {
    const found = await this.findOne(options, how);
    if (found === null) throw new EntityNotFoundError(this.target, options);
    return found;
  }

  /** As `Repository.findAndCount`. */
  findAndCount(options: FindManyOptions<Entity> = {}, how: EntityReadOptions = {}): Promise<[Entity[], number]> {
    return this.read('findAndCount', options, how);
  }

  /** As `Repository.count`. */
  count(options: FindManyOptions<Entity> = {}, how: EntityReadOptions = {}): Promise<number> {
    return this.read('count', options, how);
  }

  /** As `Repository.countBy`. */
  countBy(where: FindOptionsWhere<Entity> | FindOptionsWhere<Entity>[], how: EntityReadOptions = {}): Promise<number> {
    return this.read('count', { where }, how);
  }

  /** As `Repository.exists`. */
  exists(options: FindManyOptions<Entity> = {}, how: EntityReadOptions = {}): Promise<boolean> {
    return this.read('exists', options, how);
  }

  /** As `Repository.existsBy`. */
  existsBy(
    where: FindOptionsWhere<Entity> | FindOptionsWhere<Entity>[],
    how: EntityReadOptions = {},
  ): Promise<boolean> {
    return this.read('exists', { where }, how);
  }

  /**
   * A query of your own through the cache. It depends on all rows of its entities' tables; one that holds a sub-select or
   * SQL of unknown reach is run and not cached.
   * @example posts.cached(posts.repository.createQueryBuilder('post').where('post.title ILIKE :text', { text })).getMany()
   */
  cached<Selected extends ObjectLiteral>(
    qb: SelectQueryBuilder<Selected>,
    how: EntityReadOptions = {},
  ): CachedQuery<Selected> {
    return new CachedQuery(this.reader, qb, how);
  }

  private get target(): EntityTarget<Entity> {
    return this.repository.target;
  }

  private read<T>(kind: Kind, options: FindManyOptions<Entity>, how: EntityReadOptions): Promise<T> {
    try {
      return this.reader.find<T>(kind, this.repository, options, how);
    } catch (error) {
      return Promise.reject(error);
    }
  }
}
