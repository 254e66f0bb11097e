import { type INestApplication } from '@nestjs/common';
import { CacheService } from 'nestjs-result-cache';
import request from 'supertest';
import { DataSource } from 'typeorm';
import { createDatabase, type TestDatabase } from '../../../test/support/database.js';
import { createApp } from '../src/app.js';
import { seed } from '../src/database/seed.js';

/** Of 20 users, 500 posts and 2,000 comments, acme has the users 1 to 10 and globex 11 to 16; post 251 is globex's first. */
export const SCALE = 0.01;

export interface GraphqlResult {
  data: Record<string, any> | null;
  errors?: { message: string; extensions: { code: string } }[];
}

/** A small blog in a database of its own, spoken to over HTTP as any client would. */
export class BlogFixture {
  private constructor(
    readonly app: INestApplication,
    private readonly database: TestDatabase,
  ) {}

  /** @param server URL of another server than the one that all specs share. */
  static async start(scale = SCALE, server?: string): Promise<BlogFixture> {
    const database = await createDatabase({ server });
    // What is a hit must not depend on how busy the machine is.
    const app = await createApp(database.url, { logger: false }, { timeout: Infinity });
    await seed(app.get(DataSource), { scale });
    await app.init();
    return new BlogFixture(app, database);
  }

  async stop(): Promise<void> {
    await this.app.close();
    await this.database.drop();
  }

  /** Plain SQL past the application, as somebody else would run it. */
  async sql<T extends object[] = Record<string, any>[]>(statement: string, parameters: unknown[] = []): Promise<T> {
    return (await this.database.pool.query(statement, parameters)).rows as T;
  }

  /** Another process's view of the same blog: an application that has computed nothing itself. Close it. */
  async anotherApp(): Promise<INestApplication> {
    const app = await createApp(this.database.url, { logger: false }, { timeout: Infinity });
    return app.init();
  }

  /** What was computed so far is in the cache when this resolves; without waiting, the next read may come too early. */
  async stored(): Promise<void> {
    await this.app.get(CacheService).engine.drain();
  }

  get(path: string, tenant?: string): request.Test {
    const test = request(this.app.getHttpServer()).get(path);
    return tenant === undefined ? test : test.set('x-tenant-id', tenant);
  }

  post(query: string, tenant?: string): request.Test {
    const test = request(this.app.getHttpServer()).post('/graphql').send({ query });
    return tenant === undefined ? test : test.set('x-tenant-id', tenant);
  }

  async graphql(query: string, tenant = 'acme'): Promise<GraphqlResult> {
    return (await this.post(query, tenant)).body as GraphqlResult;
  }

  /** The data of a query that is expected to succeed. */
  async data(query: string, tenant = 'acme'): Promise<Record<string, any>> {
    const { data, errors } = await this.graphql(query, tenant);
    if (errors || !data) throw new Error(`the query failed: ${JSON.stringify(errors)}`);
    return data;
  }

  /** Code and message of a query that is expected to fail. */
  async failure(query: string, tenant = 'acme'): Promise<string> {
    const { errors } = await this.graphql(query, tenant);
    if (errors?.length !== 1) throw new Error(`expected one error, not ${JSON.stringify(errors)}`);
    return `${errors[0]!.extensions.code} ${errors[0]!.message}`;
  }
}
