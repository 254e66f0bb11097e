import { type FindManyOptions, type Repository, type SelectQueryBuilder } from 'typeorm';
import { METHODS, type Kind } from './entity-query.js';
import { type Reader } from './entity-reader.js';
import { managerOf, type EntityReadOptions } from './read-options.js';

/** Reads as TypeORM does, with no cache. */
export const plainReader: Reader = {
  async find<T>(
    kind: Kind,
    repository: Repository<any>,
    options: FindManyOptions<any>,
    { within }: EntityReadOptions,
  ): Promise<T> {
    const home = managerOf(within)?.getRepository(repository.target) ?? repository;
    return (await METHODS[kind](home.createQueryBuilder(home.metadata.name).setFindOptions(options))) as T;
  },

  async built<T>(kind: Kind, qb: SelectQueryBuilder<any>, { within }: EntityReadOptions): Promise<T> {
    const runner = managerOf(within)?.queryRunner;
    return (await METHODS[kind](runner === undefined ? qb : qb.clone().setQueryRunner(runner))) as T;
  },
};
