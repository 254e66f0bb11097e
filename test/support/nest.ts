import { type INestApplication, type LoggerService, type ModuleMetadata } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { CacheModule, CacheService, fromHeader, type CacheModuleOptions } from 'nestjs-result-cache';
import request from 'supertest';
import { type TestDatabase } from './database.js';

/** An application under test, as a process of its own would run it. */
export interface StartedNest {
  app: INestApplication;
  cache: CacheService;
  /** Every line of level warn or above. */
  warnings: string[];
  /** Wait until everything computed so far is stored. */
  drain(): Promise<void>;
  /** GET as a tenant. */
  get(path: string, tenant?: string): request.Test;
}

export interface NestParts extends ModuleMetadata {
  /** Over the defaults: tenants by the header x-tenant-id, the table `items` as the domain `item`. */
  options?: Partial<CacheModuleOptions>;
  /** What comes before `app.init()`: global pipes and the like. */
  prepare?: (app: INestApplication) => void;
}

const started: INestApplication[] = [];

/** Start a Nest application with a cache in this database; closed by {@link closeNest}. Rejects as the start does. */
export async function startNest(
  database: TestDatabase,
  { options, prepare, imports = [], ...parts }: NestParts,
): Promise<StartedNest> {
  const warnings: string[] = [];
  const warn = (message: unknown): void => void warnings.push(String(message));
  const logger: LoggerService = { log: () => undefined, warn, error: warn, fatal: warn };
  const module = await Test.createTestingModule({
    imports: [
      CacheModule.forRoot({
        connection: database.url,
        tenancy: { mode: 'optional', resolver: fromHeader('x-tenant-id') },
        watch: [{ table: 'items', domain: 'item', tenantColumn: 'tenant_id' }],
        purgeInterval: false,
        // What is a hit must not depend on how busy the machine is.
        timeout: Infinity,
        ...options,
      }),
      ...imports,
    ],
    ...parts,
  })
    .setLogger(logger)
    .compile();
  const app = module.createNestApplication();
  started.push(app);
  prepare?.(app);
  await app.init();
  const cache = app.get(CacheService);
  return {
    app,
    cache,
    warnings,
    drain: () => cache.engine.drain(),
    get: (path, tenant) => {
      const call = request(app.getHttpServer()).get(path);
      return tenant === undefined ? call : call.set('x-tenant-id', tenant);
    },
  };
}

/** Close all applications of a spec. One whose start failed has nothing that could keep the process alive but its pool. */
export async function closeNest(): Promise<void> {
  await Promise.all(started.splice(0).map((app) => app.close().catch(() => undefined)));
}
