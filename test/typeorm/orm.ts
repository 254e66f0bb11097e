import { type ModuleMetadata } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { PostgresCache, type CacheModuleOptions } from 'nestjs-result-cache';
import {
  getCachedRepositoryToken,
  TypeOrmCacheModule,
  type CachedEntityRepository,
  type CachedRepositoryOptions,
} from 'nestjs-result-cache/typeorm';
import { DataSource, type DataSourceOptions, type ObjectLiteral } from 'typeorm';
import { settle } from '../support/caches.js';
import { type TestDatabase } from '../support/database.js';
import { startNest, type StartedNest } from '../support/nest.js';

type EntityClass<E> = new () => E;

/** An application with cached repositories, as a process of its own has it. */
export interface StartedOrm extends StartedNest {
  source: DataSource;
  cached<E extends ObjectLiteral>(entity: EntityClass<E>): CachedEntityRepository<E>;
  /** How a read got its value. */
  outcome(read: () => Promise<unknown>): Promise<'hit' | 'computed' | 'bypassed'>;
  /** Read until it is served, so that what makes it void can be seen. */
  prime(...reads: (() => Promise<unknown>)[]): Promise<void>;
}

export interface OrmParts {
  entities: EntityClass<ObjectLiteral>[];
  /** Those that have cached repositories. Default: all. */
  repositories?: EntityClass<ObjectLiteral>[];
  source?: Partial<DataSourceOptions>;
  cache?: CachedRepositoryOptions;
  options?: Partial<CacheModuleOptions>;
  imports?: ModuleMetadata['imports'];
}

/** The first application of a database makes the tables. */
export async function startOrm(
  database: TestDatabase,
  { entities, repositories = entities, source, cache, options, imports = [] }: OrmParts,
): Promise<StartedOrm> {
  const nest = await startNest(database, {
    options: { tenancy: 'off', watch: [], ...options },
    imports: [
      TypeOrmModule.forRoot({
        type: 'postgres',
        url: database.url,
        entities,
        synchronize: true,
        retryAttempts: 0,
        ...source,
      } as never),
      ...(repositories.length > 0 ? [TypeOrmCacheModule.forFeature(repositories, cache)] : []),
      ...imports,
    ],
  });
  const { engine } = nest.cache;
  await settle(nest.app.get(PostgresCache));
  const outcome: StartedOrm['outcome'] = async (read) => {
    const before = engine.counters();
    await read();
    const after = engine.counters();
    await engine.drain();
    return after.hits > before.hits ? 'hit' : after.misses > before.misses ? 'computed' : 'bypassed';
  };
  return {
    ...nest,
    source: nest.app.get(DataSource),
    cached: (entity) => nest.app.get(getCachedRepositoryToken(entity, cache?.dataSource)),
    outcome,
    prime: async (...reads) => {
      for (const read of reads) {
        for (let attempt = 0; (await outcome(read)) !== 'hit'; attempt++)
          if (attempt === 200) throw new Error(`it is never served: ${nest.warnings.join('\n')}`);
      }
    },
  };
}
