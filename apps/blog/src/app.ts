import { type INestApplication, type NestApplicationOptions } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { type CacheModuleOptions } from 'nestjs-result-cache';
import { AppModule } from './app.module.js';
import { openDatabase } from './database/data-source.js';

/**
 * The blog on any PostgreSQL database, empty or not: creates what is missing of its schema, and no rows.
 * Call `listen()` or `init()` on the result, and `close()` in the end, which also closes the connections.
 *
 * @throws DatabaseUnavailableError when the database cannot be reached.
 *
 * @example
 * const app = await createApp('postgres://localhost/blog');
 * await seed(app.get(DataSource));
 * await app.listen(3000);
 */
export async function createApp(
  databaseUrl: string,
  options: NestApplicationOptions = {},
  cache: Partial<CacheModuleOptions> = {},
): Promise<INestApplication> {
  const dataSource = await openDatabase(databaseUrl);
  try {
    return await NestFactory.create(AppModule.forRoot(dataSource, databaseUrl, cache), {
      logger: ['error', 'warn'],
      abortOnError: false,
      ...options,
    });
  } catch (error) {
    await dataSource.destroy();
    throw error;
  }
}
