import { afterAll, afterEach, beforeAll } from '@jest/globals';
import { type Type } from '@nestjs/common';
import { createDatabase, type TestDatabase } from './database.js';
import { closeNest, startNest, type NestParts, type StartedNest } from './nest.js';
import { installSettled } from './settled.js';

/** Nest applications on one database with the table `items`, which {@link startNest} watches. */
export interface ItemsWorld {
  /** There from the first test on. */
  readonly database: TestDatabase;
  start(parts: NestParts): Promise<StartedNest>;
  /** Start an application with one provider more, and get it. */
  started<T>(type: Type<T>, parts?: NestParts): Promise<[T, StartedNest]>;
}

/** For a whole spec: after each test its applications are closed and what they cached is deleted. */
export function itemsWorld(): ItemsWorld {
  let database: TestDatabase;

  beforeAll(async () => {
    database = await createDatabase();
    await database.pool.query('CREATE TABLE items (id int PRIMARY KEY, tenant_id text, name text)');
    await installSettled(database);
  });
  afterEach(async () => {
    await closeNest();
    await database.pool.query('DELETE FROM fraiseql_cache.fraiseql_cache');
  });
  afterAll(() => database.drop());

  const start = (parts: NestParts): Promise<StartedNest> => startNest(database, parts);
  return {
    get database() {
      return database;
    },
    start,
    async started<T>(type: Type<T>, parts: NestParts = {}): Promise<[T, StartedNest]> {
      const nest = await start({ ...parts, providers: [type, ...(parts.providers ?? [])] });
      return [nest.app.get(type), nest];
    },
  };
}
